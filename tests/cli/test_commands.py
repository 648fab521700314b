"""Commands on good input. Models are replaced by fakes whose texts are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contraflow.evaluation.metrics import Metric, Metrics, compute_metrics, read_metrics
from contraflow.evaluation.records import QuestionRecord
from contraflow.facts import Fact, read_facts
from contraflow.settings import Config
from support.cli import Result, json_lines, put_module
from support.records import record

Call = Callable[..., Result]
Write = Callable[[str, Any], Path]


class FakeRun:
    """Generates "subject 0?", "subject 1?", … and records its calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def open(self, run: str, config: Config | None = None) -> FakeRun:
        self.calls.append({"run": run, "config": config})
        return self

    def generate(self, facts: Sequence[Fact], n: int, **options: Any) -> Iterator[QuestionRecord]:
        self.calls.append(options)
        numbers = dict.fromkeys(
            ("log_contradiction", "log_p_question", "log_p_answer", "log_pf"), -1.0
        )
        for fact in facts:
            for i in range(n):
                yield record(
                    fact.fact_id,
                    f"{fact.subject} {i}?",
                    subject=fact.subject,
                    edit_fact=fact.edit_fact,
                    answer="Yes.",
                    log_reward=-2.0,
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


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_questions_are_kept_in_proportion_where_asked(
    contraflow: Call, facts_file: Path, command: str
) -> None:
    ask = (command, "run=untrained", f"facts={facts_file}", "n=3")
    alone = contraflow(*ask, "keep_by=proportion")
    assert alone.code == 2 and "keep_by=proportion: says which of n" in alone.err
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


def test_generate_that_fails_leaves_no_half_file(
    contraflow: Call, run: FakeRun, facts_file: Path
) -> None:
    def fail(*_args: object, **_options: object) -> Iterator[QuestionRecord]:
        yield from FakeRun().generate(read_facts(facts_file), 1)
        raise KeyboardInterrupt

    run.generate = fail  # type: ignore[method-assign]
    Path("out.jsonl").write_text("old\n")
    assert (
        contraflow("generate", "run=untrained", f"facts={facts_file}", "out=out.jsonl").code == 130
    )
    assert Path("out.jsonl").read_text() == "old\n"
    assert sorted(path.name for path in Path().iterdir()) == ["facts.jsonl", "out.jsonl"]


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
