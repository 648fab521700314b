"""Batches of scored questions that are kept: what a stopped rollout goes on from."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contraflow.errors import UserError
from contraflow.evaluation.record_book import RecordBook
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.rollout import rollout
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.reward.schedule import RewardSchedule
from contraflow.seeding import torch_rng
from support.models import fresh_lm
from support.records import record
from support.tables import RecordingJudge, RecordingOracle, arbitrary_log_c, small_policy

SUBJECTS = ("rome", "hamlet", "city", "capital")
FACTS = [Fact(fact_id=name, subject=name, edit_fact=f"{name} is the fact") for name in SUBJECTS]
N = 40  # one fact a batch


class Rolled:
    """A rollout over four facts, one a batch, with an oracle that records what it is asked."""

    def __init__(self, **options: Any) -> None:
        self.oracle = RecordingOracle()
        scorer = Scorer(
            small_policy(fresh_lm(), n_tokens=14), self.oracle, RecordingJudge(arbitrary_log_c)
        )
        reward = RewardSchedule(kind="static")
        options = {"n_samples": N, "step": 0, "seed": 7} | options
        self.records = rollout(scorer.policy, scorer, reward, FACTS, **options)


def stopped(path: Path, n_facts: int, **options: Any) -> None:
    """Roll out the first facts and leave the rest."""
    rolled = Rolled(batches=RecordBook(path, "run"), **options)
    assert len(list(islice(rolled.records, n_facts * N))) == n_facts * N


@pytest.mark.parametrize("distinct", [False, True])
def test_a_rollout_goes_on_behind_its_kept_batches(tmp_path: Path, distinct: bool) -> None:
    """Two of four facts are kept. Without replacement all facts share their random numbers."""
    whole = Rolled(distinct=distinct)
    expected = list(whole.records)
    stopped(tmp_path / "q.jsonl", 2, distinct=distinct)
    book = RecordBook(tmp_path / "q.jsonl", "run")
    assert book.n_records == 2 * N
    rest = Rolled(distinct=distinct, batches=book)
    assert list(rest.records) == expected
    assert rest.oracle.questions == whole.oracle.questions[-len(rest.oracle.questions) :]
    asked = {r.question for r in expected[2 * N :]}
    assert set(rest.oracle.questions) == asked


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"temperature": 0.5}, {"n_samples": 50}, {"step": 1}]
)
def test_batches_of_other_settings_are_not_used(tmp_path: Path, change: dict[str, Any]) -> None:
    stopped(tmp_path / "q.jsonl", 4)
    again = Rolled(batches=RecordBook(tmp_path / "q.jsonl", "run"), **change)
    list(again.records)
    plain = Rolled(**change)
    list(plain.records)
    assert again.oracle.questions == plain.oracle.questions


def test_batches_of_another_model_are_not_used(tmp_path: Path) -> None:
    stopped(tmp_path / "q.jsonl", 4)
    book = RecordBook(tmp_path / "q.jsonl", "another run")
    assert book.n_records == 0
    again = Rolled(batches=book)
    list(again.records)
    assert again.oracle.questions


def test_a_cut_batch_is_dropped_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "q.jsonl"
    stopped(path, 2)
    path.write_bytes(path.read_bytes()[:-100])
    assert RecordBook(path, "run").n_records == N
    err = capsys.readouterr().err
    assert "q.jsonl: its last line was damaged and is dropped" in err
    assert "its questions will be scored again" in err


def test_a_line_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "a?"}\n')
    with pytest.raises(UserError, match=r"q\.jsonl:1: is not a batch of questions"):
        RecordBook(path, "run")


def test_nan_is_kept_and_infinity_is_made_again(tmp_path: Path) -> None:
    """JSON has neither; NaN is read back from null, infinity would be NaN."""
    rng = torch_rng(0)
    for value, n_lines in ((math.nan, 1), (-math.inf, 1)):
        path = tmp_path / "q.jsonl"
        made: list[QuestionRecord] = [record(log_reward=value)]
        settings = [str(value)]
        list(RecordBook(path, "run").batch(FACTS, settings, rng, lambda made=made: made))
        assert len(path.read_bytes().splitlines()) == n_lines
    (kept,) = RecordBook(path, "run").batch(FACTS, ["nan"], rng, lambda: [])
    assert math.isnan(kept.log_reward)
    assert msgspec.structs.replace(kept, log_reward=0.0) == record(log_reward=0.0)
