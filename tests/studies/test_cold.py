"""Cold facts and the judge against the strict test: shares, changes and causes, by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from contraflow.evaluation.grouping import FactOfRecord, by_fact
from contraflow.evaluation.records import QuestionRecord, read_records, write_records
from contraflow.facts import Fact, read_facts, write_facts
from contraflow.run.folder import open_folder
from contraflow.settings import Config, EvaluationConfig, TrainerConfig
from studies.fit import cold
from studies.fit.cold import TRAINED, UNTRAINED, RunQuestions, success_table
from studies.fit.judged import CAUSES, Sums, cause_of, judged, success
from studies.fit.pooling import change, estimate, pooled
from support.records import record
from support.runs import tiny_config, use_tiny_parts, write_tiny_facts

NO = -5.0  # log-probability of what the judge does not see
WRONG = {"answer": "Thomas Kyd", "log_entailment": NO}  # contradicts the edit, says nothing true
FRANCE = {
    "fact_id": "f1",
    "subject": "France",
    "relation": "capital",
    "edit_fact": "The capital of France is Lyon.",
    "original_answer": "Paris",
    "edited_answer": "Lyon",
    "question": "What is the capital of France?",
    "answer": "Paris",
}


def value(sums: Sums) -> float:
    return estimate(sums).value


HAMLET = [
    record(),
    record(),
    record(question="Who is the author of Hamlet?"),
    record(question="Which playwright wrote Hamlet?", **WRONG),
]


def test_cold_facts_are_told_by_the_runs_own_relations() -> None:
    """Hamlet is seen in run A and cold in run B; France is seen in B.

    Seen: A's Hamlet has 3 of 4 strict, 3 of 4 distinct; B's France 0 of 2 and 1 of 2. Together
    3 of 6 questions, and the mean of 3/4 and 1/2 over facts. Cold: 1 of 1 and 1.
    """
    a = RunQuestions("a", frozenset({"author"}), {TRAINED: HAMLET})
    wrong = record(**FRANCE | {"answer": "Nice", "log_contradiction": NO})
    b = RunQuestions("b", frozenset({"capital"}), {TRAINED: [record(), wrong, wrong]})
    unnamed = RunQuestions("c", frozenset({"author"}), {TRAINED: [record(relation="", **WRONG)]})
    table = success_table([a, b, unnamed])
    seen, apart = table[f"{TRAINED}, seen relations"], table[f"{TRAINED}, cold"]
    assert seen["strict"].value == pytest.approx(3 / 6)
    assert seen["judge: contradicts"].value == pytest.approx(4 / 6)
    assert seen["contradicts - strict"].value == pytest.approx(1 / 6)
    assert seen["distinct"].value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert seen["distinct and valid"].value == pytest.approx((3 / 4 + 0) / 2)
    assert (seen["strict"].n_facts, seen["strict"].n) == (2, 6)
    assert (apart["strict"].value, apart["strict"].n) == (1, 1)
    assert table[f"{TRAINED}, cold - seen"]["strict"].value == pytest.approx(0.5)
    assert f"{UNTRAINED}, cold" not in table


def test_runs_are_measured_apart_and_pooled_by_fact() -> None:
    """One question in each of two runs repeats nothing, and is about one fact."""
    sums = pooled([[record()], [], [record()]], success)
    assert value(sums["distinct"]) == 1
    assert len(sums["strict"]) == 1


def test_the_judge_is_set_against_the_strict_test() -> None:
    """Of six: strict by all; strict, but not for the judge; two wrong answers that contradict,
    one of a question that names no subject; another wording of the truth; nothing.

    Contradicts 4/6, with entailment 2/6, strict 2/6, valid 3/6. Strict failures are 4, of which
    3 contradict; the sound ones are 3, of which 2 contradict. Of 4 that contradict 1 is strict.
    """
    questions = [
        record(),
        record(log_contradiction=NO),
        record(**WRONG),
        record(question="Who wrote the play?", **WRONG),
        record(answer="the Bard of Avon"),
        record(log_contradiction=NO, **WRONG),
    ]
    found = {name: value(sums) for name, sums in judged(questions).items()}
    assert found == pytest.approx(
        {
            "strict": 2 / 6,
            "judge: contradicts": 4 / 6,
            "judge: contradicts and entails": 2 / 6,
            "contradicts - strict": 2 / 6,
            "contradicts and entails - strict": 0,
            "valid - strict": 1 / 6,
            "contradicts, of strict failures": 3 / 4,
            "contradicts, of sound strict failures": 2 / 3,
            "contradicts and entails, of strict failures": 1 / 4,
            "strict, of contradicts": 1 / 4,
            "strict, of contradicts and entails": 1 / 2,
        }
    )


def sums_of(*pairs: Sequence[float]) -> Sums:
    facts = [FactOfRecord(str(i), "", "") for i in range(len(pairs))]
    return {fact: np.array(pair, float) for fact, pair in zip(facts, pairs, strict=True)}


def test_a_change_is_paired_over_facts() -> None:
    """Every fact gains 1 of 4, so every resample does, however much the facts differ."""
    found = change(sums_of([0, 4], [2, 4], [3, 4]), sums_of([1, 4], [3, 4], [4, 4]))
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
    assert (found.n_facts, found.n) == (3, 24)


def test_the_interval_of_a_change_is_over_facts() -> None:
    """Of two facts one gains 1: a resample has it never, once or twice, 1/4, 1/2, 1/4.

    Two facts say next to nothing: the interval is widened, and cut to what is possible.
    """
    found = change(sums_of([0, 1], [1, 1]), sums_of([1, 1], [1, 1]))
    assert (found.value, found.low, found.high) == (0.5, -1, 1)
    many = change(sums_of(*[(0, 1)] * 40), sums_of(*[(0, 1), (1, 1)] * 20))
    assert many.low == pytest.approx(0.5 - 2.05 * 0.08, abs=0.02)


@pytest.mark.parametrize(
    ("cause", "changes"),
    [
        ("question not well-formed", {"question": "Hamlet wrote who the?"}),
        ("question not on the subject", {"question": "Who wrote the play?"}),
        ("question names an answer", {"question": "Did Christopher Marlowe write Hamlet?"}),
        ("answer asserts the edited answer", {"answer": "Christopher Marlowe wrote it."}),
        ("answer denies the edited answer", {"answer": "It was not Christopher Marlowe."}),
        (
            "answer names the original one, not asserted",
            {"answer": "William Shakespeare did not write Hamlet."},
        ),
        ("answer empty, evasive or broken", {"answer": "I do not know."}),
        (
            "answer off topic",
            {"answer": "The weather is nice today and we went to the beach with friends."},
        ),
        ("answer names neither; judge: entails the original", {"answer": "the Bard of Avon"}),
        ("answer names neither; judge: does not", WRONG),
        (None, {}),  # a strict success
        (None, {**WRONG, "log_contradiction": NO}),  # fails for both
    ],
)
def test_a_failure_that_the_judge_passes_has_a_cause(
    cause: str | None, changes: dict[str, Any]
) -> None:
    assert cause_of(record(**changes)) == cause
    assert cause is None or cause in CAUSES


def run_folder(folder: Path, before: list[QuestionRecord] | None = None) -> Path:
    """A finished run of three steps, with a draw in each, on the author relation."""
    open_folder(Config(run_dir=str(folder), trainer=TrainerConfig(n_steps=3)))
    author = Fact(fact_id="a", subject="Macbeth", edit_fact="Macbeth is new", relation="author")
    write_facts(folder / "train_facts.jsonl", [author])
    probes = [
        msgspec.json.encode({"step": step, **msgspec.to_builtins(r)})
        for step, r in enumerate([record(**WRONG), record(**WRONG), record()])
    ]
    (folder / "probes.jsonl").write_bytes(b"".join(line + b"\n" for line in probes))
    write_records(folder / "evaluation" / "after_questions.jsonl", [*HAMLET, record(**FRANCE)])
    if before is not None:
        write_records(folder / "evaluation" / "before_questions.jsonl", before)
    (folder / "finished").touch()
    return folder


def test_the_command_writes_all_tables_of_the_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = str(run_folder(tmp_path / "a", before=[record(**WRONG), record(**FRANCE)]))
    b = str(run_folder(tmp_path / "b"))
    assert cold.main([a, b, "--out", str(tmp_path / "cold.json")]) == 0
    found = json.loads((tmp_path / "cold.json").read_text())
    assert found["stages"][UNTRAINED] == [a]
    assert found["stages"][TRAINED] == [a, b]
    assert found["cold_facts"] == {a: {"capital": 1}, b: {"capital": 1}}
    # Run a: trained, 4 of 5 are strict and all contradict; untrained, 1 of 2 and both.
    rise = found["judge"][f"{TRAINED} - {UNTRAINED}"]
    assert rise["strict"]["value"] == pytest.approx(4 / 5 - 1 / 2)
    assert rise["contradicts - strict"]["value"] == pytest.approx(1 / 5 - 1 / 2)
    assert rise["strict"]["n"] == 5 + 2
    assert list(found["by_run"]) == [f"{TRAINED} - {UNTRAINED}, {a}"]
    thirds = [found["judge"][third]["strict"]["value"] for third in cold.THIRDS]
    assert thirds == [0, 0, 1]
    asked = {(row["run"], row["stage"], row["question"]) for row in found["shown"]}
    assert (a, UNTRAINED, "Who wrote Hamlet?") in asked
    assert {run for run, stage, _ in asked if stage == TRAINED} == {a, b}
    printed = capsys.readouterr().out
    assert f"{TRAINED}, cold (1 facts, 2 questions)" in printed
    assert "| answer names neither; judge: does not | 0.500" in printed


def test_a_run_that_is_not_finished_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(tmp_path / "a")
    assert cold.main([str(folder), str(folder)]) == 2
    assert f"error: {folder}: is given twice" in capsys.readouterr().err
    (folder / "finished").unlink()
    assert cold.main([str(folder)]) == 2
    assert f"error: {folder}: is not finished" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_the_untrained_sampler_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its P_F is the prior P_Q."""
    use_tiny_parts(monkeypatch.setattr)
    write_tiny_facts(tmp_path / "facts.jsonl")
    config = tiny_config(tmp_path, evaluation=EvaluationConfig(n_samples=3))
    folder = open_folder(config)
    write_facts(folder / "test_facts.jsonl", read_facts(tmp_path / "facts.jsonl")[:2])
    cold.measure_untrained(folder, "cpu")
    path = folder / "evaluation" / "before_questions.jsonl"
    records = read_records(path)
    assert [len(group) for group in by_fact(records).values()] == [3, 3]
    for r in records:
        assert r.log_pf == pytest.approx(r.log_p_question, abs=1e-4)
    path.unlink()
    cold.measure_untrained(folder, "cpu")
    assert not path.exists(), "it was measured before"
