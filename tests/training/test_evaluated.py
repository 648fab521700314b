"""What the final evaluation of a run measures, by its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.evaluation.records import QuestionRecord, read_records
from contraflow.settings import EvaluationConfig
from contraflow.text.tokens import normalize
from contraflow.training import job
from support.runs import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")


def of_facts(path: Path) -> dict[str, list[QuestionRecord]]:
    found: dict[str, list[QuestionRecord]] = {}
    for record in read_records(path):
        found.setdefault(record.fact_id, []).append(record)
    return found


@pytest.mark.slow
def test_some_of_many_are_kept_in_proportion(tiny: Path) -> None:
    """As many as elsewhere, different, and with a reward; a resumed run keeps them."""
    settings = EvaluationConfig(enabled=True, n_samples=2, proportion_of=6, target_facts=0)
    folder = job.train(tiny_config(tiny, evaluation=settings)) / "evaluation"
    kept = of_facts(folder / "proportional_questions.jsonl")
    assert kept.keys() == of_facts(folder / "after_questions.jsonl").keys()
    for records in kept.values():
        assert 1 <= len(records) <= 2
        assert len({normalize(r.question) for r in records}) == len(records)
        assert all(r.log_inclusion is not None and r.log_reward > -float("inf") for r in records)
    before = (folder / "proportional.json").stat().st_mtime_ns
    job.train(tiny_config(tiny, evaluation=settings))
    assert (folder / "proportional.json").stat().st_mtime_ns == before


def test_without_being_asked_for_they_are_not_drawn(tiny: Path) -> None:
    settings = EvaluationConfig(enabled=True, n_samples=2, target_facts=0)
    folder = job.train(tiny_config(tiny, evaluation=settings)) / "evaluation"
    assert (folder / "different.json").is_file() and not (folder / "proportional.json").exists()


@pytest.mark.parametrize("n", [-1, 7])
def test_fewer_candidates_than_are_kept_are_refused(n: int) -> None:
    with pytest.raises(UserError, match=r"evaluation\.proportion_of"):
        EvaluationConfig(n_samples=8, proportion_of=n)
