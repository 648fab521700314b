"""Commands on good input. Models are replaced by fakes whose texts are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contraflow.errors import UserError
from contraflow.evaluation.metrics import Metric, Metrics, compute_metrics, read_metrics
from contraflow.evaluation.records import QuestionRecord
from contraflow.facts import Fact, read_facts
from contraflow.settings import Config
from support.cli import Result, assert_one_error, json_lines, put_module
from support.records import record

Call = Callable[..., Result]
Write = Callable[[str, Any], Path]


class FakeRun:
    """Generates "subject 0?", "subject 1?", … or the texts of ``rewards``; records its calls."""

    config = Config()

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.rewards: dict[str, float] = {}

    def open(self, run: str, config: Config | None = None) -> FakeRun:
        self.calls.append({"run": run, "config": config})
        return self

    def generate(self, facts: Sequence[Fact], n: int, **options: Any) -> Iterator[QuestionRecord]:
        self.calls.append(options)
        numbers = dict.fromkeys(
            ("log_contradiction", "log_p_question", "log_p_answer", "log_pf"), -1.0
        )
        for fact in facts:
            texts = self.rewards or {f"{fact.subject} {i}?": -2.0 for i in range(n)}
            for text, log_reward in texts.items():
                yield record(
                    fact.fact_id,
                    text,
                    subject=fact.subject,
                    edit_fact=fact.edit_fact,
                    answer="Yes.",
                    log_reward=log_reward,
                    **numbers,
                )

    def evaluate(
        self, facts: Sequence[Fact], n_samples: int, *, on_fact: Any, **options: Any
    ) -> Any:
        records = list(self.generate(facts, n_samples, **options))
        on_fact(len(facts))
        one = Metric(
            name="well_formed", value=0.75, low=0.5, high=1.0, n=4, unit="rate", meaning=""
        )
        none = Metric(
            name="vendi", value=math.nan, low=math.nan, high=math.nan, n=0, unit="", meaning=""
        )
        return Metrics(n_facts=len(facts), n_questions=len(records), rows=(one, none)), records


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    fake = FakeRun()
    put_module(monkeypatch, "contraflow.run.session", open_run=fake.open)
    monkeypatch.setattr("contraflow.run.kept.Kept.of", lambda _kept, run: run)
    put_module(monkeypatch, "contraflow.run.encoder", why_no_encoder=lambda: None)
    return fake


@pytest.mark.usefixtures("run")
def test_generate_writes_a_line_a_question(contraflow: Call, facts_file: Path) -> None:
    result = contraflow(
        "generate", "run=untrained", f"facts={facts_file}", "n=3", "out=new/out.jsonl"
    )
    assert (result.code, result.out) == (0, "wrote 6 questions about 2 facts to new/out.jsonl\n")
    rows = json_lines(Path("new/out.jsonl").read_text())
    assert [row["question"] for row in rows] == [
        f"{s} {i}?" for s in ("France", "Japan") for i in range(3)
    ]
    numbers = {"log_contradiction", "log_p_question", "log_p_answer", "log_reward", "log_pf"}
    texts = {"subject", "edit_fact", "question", "answer", "fact_id", "relation"}
    assert numbers | texts | {"original_answer", "edited_answer"} <= set(rows[0])
    assert [path.name for path in Path("new").iterdir()] == ["out.jsonl"]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_a_subject_that_the_sampler_cannot_write_is_told(
    contraflow: Call, write: Write, command: str
) -> None:
    fact = {"subject": "Набоков", "edit_fact": "Набоков was born in Rome."}
    for row, said in ((fact, 1), ({"subject": "Rome", "edit_fact": "Rome is in Peru."}, 0)):
        write("own.jsonl", [row])
        result = contraflow(command, "run=untrained", "facts=own.jsonl", "n=1", "out=o.json")
        assert result.code == 0
        assert result.err.count("cannot be written in policy.vocabulary=latin") == said


@pytest.mark.usefixtures("run")
def test_generate_keeps_no_more_than_it_draws(contraflow: Call, facts_file: Path) -> None:
    result = contraflow("generate", "run=untrained", f"facts={facts_file}", "n=2", "keep=3")
    assert result.code == 2
    assert "keep=3: more than are sampled; give at most n=2" in result.err


@pytest.mark.usefixtures("run")
def test_generate_keeps_one_question_of_each_fact_where_asked(
    contraflow: Call, facts_file: Path
) -> None:
    kept = json_lines(
        contraflow("generate", "run=untrained", f"facts={facts_file}", "n=3", "keep=1").out
    )
    assert [row["subject"] for row in kept] == ["France", "Japan"]


@pytest.mark.parametrize("by", ["reward", "proportion"])
def test_keeping_all_keeps_different_ones_of_the_best(
    contraflow: Call, facts_file: Path, run: FakeRun, by: str
) -> None:
    """keep=n as keep=K below n: of 3 draws of two questions two are written."""
    run.rewards = {"Who?": -3.0, "who": -3.0, "What?": -1.0}
    ask = ("generate", "run=untrained", f"facts={facts_file}", "n=3", "keep=3", f"keep_by={by}")
    rows = json_lines(contraflow(*ask).out)
    texts = [row["question"] for row in rows[:2]]
    assert len(rows) == 2 * 2 and set(texts) == {"Who?", "What?"}
    assert by == "proportion" or texts == ["What?", "Who?"]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_questions_are_kept_in_proportion_where_asked(
    contraflow: Call, facts_file: Path, command: str
) -> None:
    ask = (command, "run=untrained", f"facts={facts_file}", "n=3")
    for by in ("proportion", "reward"):
        alone = contraflow(*ask, f"keep_by={by}")
        assert alone.code == 2 and f"keep_by={by}: says which of n" in alone.err
    result = contraflow(*ask, "keep=1", "keep_by=proportion")
    assert result.code == 0
    if command == "generate":
        assert "kept 1 questions a fact in proportion to the reward" in result.err
        assert [row["subject"] for row in json_lines(result.out)] == ["France", "Japan"]
    else:
        assert "1 of 3 questions of a fact, by proportion" in result.out


@pytest.mark.usefixtures("run")
def test_generate_for_one_fact_goes_to_standard_output(contraflow: Call) -> None:
    result = contraflow(
        "generate",
        "run=untrained",
        "subject=the Eiffel Tower",
        "edit_fact=The Eiffel Tower = Rome, Italy.",
        "n=2",
    )
    assert result.code == 0
    assert [row["edit_fact"] for row in json_lines(result.out)] == [
        "The Eiffel Tower = Rome, Italy."
    ] * 2


def test_generate_passes_on_how_to_sample(contraflow: Call, run: FakeRun, facts_file: Path) -> None:
    ask = ("generate", "run=untrained", f"facts={facts_file}", "n=1")
    assert contraflow(*ask, "temperature=0.5", "seed=3", "prompt=subject_only").code == 0
    opened, sampled = run.calls
    assert opened["config"].prompt.task.startswith("Generate a question")
    assert callable(sampled.pop("on_fact"))
    assert sampled == {"temperature": 0.5, "seed": 3, "distinct": False}


@pytest.mark.parametrize("words", [("distinct=true",), ("--distinct", "keep=2")])
def test_generate_passes_on_that_questions_differ(
    contraflow: Call, run: FakeRun, facts_file: Path, words: tuple[str, ...]
) -> None:
    result = contraflow("generate", "run=untrained", f"facts={facts_file}", "n=3", *words)
    assert result.code == 0
    assert run.calls[1]["distinct"] is True
    assert len(json_lines(result.out)) == 2 * (2 if "keep=2" in words else 3)


def test_generate_refuses_another_word_for_distinct(contraflow: Call, facts_file: Path) -> None:
    result = contraflow("generate", "run=untrained", f"facts={facts_file}", "distinct=yes")
    assert result.code == 2
    assert "distinct=yes: must be one of true, false" in result.err


def test_generate_opens_a_run_with_its_own_settings(
    contraflow: Call, run: FakeRun, facts_file: Path
) -> None:
    adapter = Path("runs/done/adapter")
    adapter.mkdir(parents=True)
    (adapter / "adapter_model.safetensors").touch()
    (adapter.parent / "config.yaml").touch()
    assert contraflow("generate", "run=runs/done", f"facts={facts_file}").code == 0
    assert run.calls[0] == {"run": "runs/done", "config": None}


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "contraflow: stopped"),
        (UserError("the server is gone; start it"), 2, "contraflow: error: the server is gone"),
        (ZeroDivisionError("x"), 1, "contraflow: error: ZeroDivisionError: x"),
    ],
)
def test_generate_that_stops_keeps_its_lines_beside(
    contraflow: Call, run: FakeRun, facts_file: Path, error: BaseException, code: int, line: str
) -> None:
    def fail(*_args: object, **_options: object) -> Iterator[QuestionRecord]:
        yield from FakeRun().generate(read_facts(facts_file), 1)
        assert len(json_lines(Path("out.jsonl.part").read_text())) == 2  # also if it is killed now
        raise error

    run.generate = fail  # type: ignore[method-assign]
    Path("out.jsonl").write_text("old\n")
    result = contraflow("generate", "run=untrained", f"facts={facts_file}", "out=out.jsonl")
    assert (result.code, result.out) == (code, "")
    last = result.err.splitlines()[-1]  # the bar before it
    assert last.startswith(line) and "; 2 lines are kept in out.jsonl.part" in last
    assert Path("out.jsonl").read_text() == "old\n"
    kept = json_lines(Path("out.jsonl.part").read_text())
    assert [row["question"] for row in kept] == ["France 0?", "Japan 0?"]


@pytest.mark.usefixtures("run")
def test_generate_leaves_the_part_of_a_run_that_stopped(contraflow: Call, facts_file: Path) -> None:
    Path("out.jsonl.part").write_text("paid for\n")
    result = contraflow("generate", "run=untrained", f"facts={facts_file}", "n=1", "out=out.jsonl")
    assert result.code == 0 and len(Path("out.jsonl").read_text().splitlines()) == 2
    assert Path("out.jsonl.part").read_text() == "paid for\n"
    names = sorted(path.name for path in Path().iterdir())
    assert names == ["facts.jsonl", "out.jsonl", "out.jsonl.part"]


@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_more_questions_than_any_memory_holds_are_refused(
    contraflow: Call, facts_file: Path, command: str
) -> None:
    result = contraflow(command, "run=untrained", f"facts={facts_file}", "n=99999999999999")
    assert_one_error(result, "n=99999999999999: must be at most 1,000,000")


@pytest.mark.usefixtures("run")
def test_evaluate_writes_and_prints_metrics(contraflow: Call, facts_file: Path) -> None:
    result = contraflow("evaluate", "run=untrained", f"facts={facts_file}", "n=2", "out=m.json")
    assert result.code == 0
    assert "4 questions about 2 facts" in result.out
    assert "0.750  [   0.500,    1.000]" in result.out
    assert "not defined" in result.out
    assert "temperature" not in result.out
    assert read_metrics("m.json")["well_formed"].value == 0.75


def test_evaluate_measures_different_questions(
    contraflow: Call, run: FakeRun, facts_file: Path
) -> None:
    asked = ["evaluate", "run=untrained", f"facts={facts_file}", "n=2", "out=m.json"]
    assert "different" not in contraflow(*asked).out
    assert "the 2 questions of a fact are different" in contraflow(*asked, "distinct=true").out
    assert [call["distinct"] for call in run.calls if "distinct" in call] == [False, True]


def test_evaluate_marks_what_has_no_value_or_interval(
    contraflow: Call, run: FakeRun, facts_file: Path
) -> None:
    def evaluate(facts: Sequence[Fact], n_samples: int, **_options: Any) -> Any:
        records = list(run.generate(facts, n_samples))
        return compute_metrics(records, np.random.default_rng(0)), records

    run.evaluate = evaluate  # type: ignore[method-assign]
    one = facts_file.with_name("one.jsonl")
    one.write_text(facts_file.read_text().splitlines()[0] + "\n")
    result = contraflow(
        "evaluate", "run=untrained", f"facts={one}", "n=4", "temperature=0.7", "out=m.json"
    )
    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert lines["log_reward"].endswith("-2.000  no interval: it needs two facts")
    assert lines["vendi"].endswith("n/a  left out: there is no sentence encoder")
    assert "nan" not in result.out
    assert "sampled at temperature 0.7: log P_F" in result.out


def test_evaluate_says_what_strict_success_leaves_out(
    contraflow: Call, run: FakeRun, facts_file: Path
) -> None:
    """Three facts with two questions each, of which one has no original answer."""
    answers = {"f0": "", "f1": "Paris", "f2": "Paris"}

    def evaluate(*_args: Any, **_options: Any) -> Any:
        records = [
            record(fact_id, f"Who is {i}?", original_answer=original)
            for fact_id, original in answers.items()
            for i in range(2)
        ]
        return compute_metrics(records, np.random.default_rng(0)), records

    run.evaluate = evaluate  # type: ignore[method-assign]
    ask = ("evaluate", "run=untrained", f"facts={facts_file}", "out=m.json")
    said = "  strict_success is of 4 questions: the facts of the other 2 have no original_answer"
    assert said in contraflow(*ask).out.splitlines()
    answers["f0"] = "Paris"
    assert "strict_success is of" not in contraflow(*ask).out


def test_train_hands_over_the_composed_config(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Config] = []
    put_module(
        monkeypatch, "contraflow.training.job", train=lambda config, _started: seen.append(config)
    )
    assert contraflow("train", "experiment=debug_fast", "objective.lam=0.9", "seed=5").code == 0
    assert (seen[0].name, seen[0].objective.lam, seen[0].seed) == ("debug_fast", 0.9, 5)
    assert list(Path().iterdir()) == []  # only training makes the folder


def test_report_prints_its_path(contraflow: Call) -> None:
    Path("run").mkdir()
    Path("run/run.json").write_text("{}")
    result = contraflow("report", "run=run")
    assert (result.code, result.out) == (0, "run/report.html\n")
    assert Path("run/report.html").read_text().startswith("<!")
