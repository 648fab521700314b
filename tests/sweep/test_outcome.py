"""The table of a sweep's results."""

from __future__ import annotations

import csv
from pathlib import Path

from optuna.trial import create_trial

from contraflow.sweep.outcome import write_outcome


def test_results_hold_numbers_and_no_formulas(tmp_path: Path):
    values = {"reward.failure_penalty": "-10", "prompt.task": "=1+1"}
    trial = create_trial(value=-0.5, user_attrs={"settings": values, "run": "abc"})
    table = write_outcome(tmp_path, [trial], "val_log_reward")
    (row,) = csv.DictReader((tmp_path / "results.csv").open())
    assert row == {
        "reward.failure_penalty": "-10",
        "prompt.task": "'=1+1",
        "val_log_reward": "-0.5000",
        "state": "complete",
        "run": "runs/abc",
    }
    assert "| -10 | =1+1 | -0.5000 |" in table
