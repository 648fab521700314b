"""`Run.evaluate` measures the questions that are kept of all that it sampled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.resampling import in_proportion
from contraflow.facts import read_facts
from contraflow.run.session import open_run

MADE = Path(__file__).parents[1] / "end_to_end" / "run_of_0_1_0"
pytestmark = pytest.mark.filterwarnings("ignore")


def test_metrics_are_of_the_kept_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole", "model", "judge"):
        shutil.copytree(MADE / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    run = open_run(Path("whole"))
    facts = read_facts(Path("whole/test_facts.jsonl"))[:2]

    def keep(drawn: Iterator[QuestionRecord]) -> Iterator[QuestionRecord]:
        for _, chosen in in_proportion(drawn, 1, seed=0):
            yield from chosen

    metrics, records = run.evaluate(facts, 5, distinct=True, keep=keep)
    drawn = list(run.generate(facts, 5, distinct=True))
    assert len(drawn) == 10 and metrics.n_questions == len(records) == 2
    assert all(record in drawn for record in records)
    reward = {row.name: row.value for row in metrics.rows}["log_reward"]
    assert reward == pytest.approx(sum(r.log_reward for r in records) / 2)
