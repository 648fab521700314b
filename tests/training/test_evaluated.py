"""What the final evaluation of a run measures, by its settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.evaluation.records import QuestionRecord, read_records
from contraflow.policy.lora import LoraPolicy
from contraflow.run import build
from contraflow.settings import EvaluationConfig
from contraflow.text.tokens import normalize
from contraflow.training import job
from contraflow.training.evaluation import Evaluation
from contraflow.types import Answer
from support.runs import tiny_config
from support.tables import RecordingOracle

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


class Failing(RecordingOracle):
    """Fails once it has answered so many questions about what is measured after training."""

    def __init__(self) -> None:
        super().__init__()
        self.most: int | None = None
        self.after: list[str] | None = None  # training is over

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        if self.after is not None:
            if self.most is not None and len(self.after) + len(questions) > self.most:
                raise RuntimeError("the oracle is gone")
            self.after += questions
        return super().answer(questions)


@pytest.mark.slow
def test_a_run_that_stops_while_it_measures_asks_nothing_twice(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it measured is that of a run that was not stopped."""
    oracle = Failing()
    measure = Evaluation.after

    def after(self: Evaluation, policy: LoraPolicy) -> None:
        oracle.after = oracle.after or []
        measure(self, policy)

    monkeypatch.setattr(Evaluation, "after", after)
    monkeypatch.setattr(build, "load_oracle", lambda *_: oracle)
    monkeypatch.setattr("contraflow.evaluation.rollout.QUESTIONS_PER_BATCH", 4)
    settings = EvaluationConfig(enabled=True, n_samples=4, target_facts=2, target_samples=6)

    whole = job.train(tiny_config(tiny, "whole", evaluation=settings))
    assert oracle.after is not None and max(Counter(oracle.after).values()) == 1
    n_asked = len(oracle.after)

    oracle.after, oracle.most = None, n_asked // 2
    cut = tiny_config(tiny, "cut", evaluation=settings)
    with pytest.raises(RuntimeError, match="the oracle is gone"):
        job.train(cut)
    folder = tiny / "cut" / "evaluation"
    assert (folder / "after.kept").is_dir() and 0 < len(oracle.after or []) < n_asked
    oracle.most = None
    job.train(cut)
    assert len(oracle.after or []) == n_asked and max(Counter(oracle.after).values()) == 1
    expected = whole / "evaluation"
    assert {file.name for file in folder.iterdir()} == {file.name for file in expected.iterdir()}
    for file in folder.iterdir():
        # Questions of the target that were scored for another stage are scored in another batch.
        if "target" not in file.name:
            assert file.read_bytes() == (expected / file.name).read_bytes(), file.name
    targets = [read_records(each / "target_questions.jsonl") for each in (folder, expected)]
    for found, wanted in zip(*targets, strict=True):
        assert (found.question, found.answer) == (wanted.question, wanted.answer)
        assert found.log_reward == pytest.approx(wanted.log_reward, abs=1e-4)
