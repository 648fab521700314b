"""The table of questions before training and now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contraflow.settings import EvaluationConfig
from contraflow.training import job, questions_now
from contraflow.training.questions_now import table
from support.facts import FACTS
from support.records import record
from support.runs import N_STEPS, assert_same, lines, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")


def test_each_fact_has_its_questions_before_and_now() -> None:
    facts = list(FACTS)
    ids = [fact.fact_id for fact in facts]
    before = [record(ids[1], "B2?"), record(ids[0], "B1?")]
    now = [record(ids[0], "N1?"), record(ids[0], "N1b?"), record(ids[1], "N2?")]
    shown = [line.split() for line in table(facts, before, now, 20).splitlines()]
    assert shown[0][:4] == ["held-out", "facts", "after", "20"]
    questions = [next((w for w in words if w.endswith("?")), "-") for words in shown[1:]]
    assert questions == ["-", "B1?", "N1?", "N1b?", "-", "B2?", "N2?"]
    assert [w[0] for w in shown[1:] if w[0] in ("before", "now")] == [
        "before", "now", "now", "before", "now",
    ]  # fmt: skip


def test_the_mark_is_the_strict_test() -> None:
    fact = FACTS[0]
    right = record(fact.fact_id)
    wrong = record(fact.fact_id, answer="I do not know.")
    rows = table([fact], [wrong], [right], 1).splitlines()
    assert "*" not in rows[2] and "*" in rows[3]


def test_long_questions_are_cut_to_the_width() -> None:
    fact = FACTS[0]
    row = table([fact], [], [record(fact.fact_id, "w" * 200)], 1).splitlines()[2]
    assert "w" * 55 + "…" in row and "w" * 56 not in row


@pytest.mark.parametrize("measured_before", [True, False])
def test_showing_questions_changes_nothing_of_a_run(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, measured_before: bool
) -> None:
    texts: list[str] = []
    monkeypatch.setattr(questions_now, "print_plain", texts.append)
    silent = tiny_config(tiny, "silent")
    shown = tiny_config(tiny, "shown")
    shown.trainer = replace(shown.trainer, show_after=2)
    if measured_before:
        shown.evaluation = EvaluationConfig(enabled=True, n_samples=2)
    folders = [job.train(silent), job.train(shown)]
    assert [text.split()[3] for text in texts] == [str(n) for n in (2, 4, 8) if n <= N_STEPS]
    assert all("now" in text for text in texts)
    assert all(("before" in text) == measured_before for text in texts)
    assert_same(lines(folders[0]), lines(folders[1]))
