"""Sweeps of real runs of a tiny model: complete, resumed after a kill, with failures."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest

from contraflow.sweep import trial
from contraflow.sweep.attempt import Attempt
from contraflow.sweep.launcher import LocalLauncher
from contraflow.sweep.outcome import write_outcome
from contraflow.sweep.study import run_sweep, settings_of
from support.sweep import METRIC, sweep_of, tiny_command

pytestmark = pytest.mark.usefixtures("tiny_trials", "fork_server")


@pytest.mark.slow
def test_every_combination_once_then_a_table_and_a_picture(tmp_path: Path):
    printed: list[str] = []
    trials = run_sweep(sweep_of(tmp_path), LocalLauncher(), printed.append)
    assert sorted(settings_of(t)["optimizer.lr"] for t in trials) == ["0.001", "0.01"]
    table = write_outcome(tmp_path / "quality", trials, "val_log_reward")
    rows = list(csv.DictReader((tmp_path / "quality" / "results.csv").open()))
    values = [float(row["val_log_reward"]) for row in rows]
    assert values == sorted(values, reverse=True) and len(table.splitlines()) == 4
    for row in rows:
        run = tmp_path / "quality" / row["run"]
        assert (run / "finished").is_file()
        assert float(row["val_log_reward"]) == pytest.approx(
            trial.values_of(run, "val_log_reward")[-1][1], abs=1e-4
        )
    assert (tmp_path / "quality" / "results.svg").read_text().count("<circle") == 2
    # A finished sweep has nothing left to run.
    assert len(run_sweep(sweep_of(tmp_path), LocalLauncher(), printed.append)) == 2


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_its_run_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Attempt, "has_ended", killed)  # the process ends while a trial runs
        with pytest.raises(KeyboardInterrupt):
            run_sweep(sweep_of(tmp_path), LocalLauncher(), print)
    trials = run_sweep(sweep_of(tmp_path), LocalLauncher(), print)
    ended = [settings_of(t)["optimizer.lr"] for t in trials if t.value is not None]
    assert sorted(ended) == ["0.001", "0.01"]
    assert write_outcome(tmp_path / "quality", trials, "val_log_reward").count("complete") == 2


@pytest.mark.slow
def test_a_failed_trial_is_reported_and_the_others_run(tmp_path: Path):
    printed: list[str] = []
    sweep = sweep_of(tmp_path, "steps=2", "fail=1", rates=("0.5", "0.001"))
    trials = run_sweep(sweep, LocalLauncher(), printed.append)
    assert any("failed: contraflow: error: no such thing" in line for line in printed)
    table = write_outcome(tmp_path / "quality", trials, "val_log_reward")
    assert table.count("| fail |") == 1 and table.count("| complete |") == 1


@pytest.mark.slow
def test_a_run_that_is_stopped_keeps_its_checkpoint(tmp_path: Path):
    folder = tmp_path / "run"
    words = [f"facts={tmp_path / 'facts.jsonl'}", "steps=100000", "optimizer.lr=0.001"]
    job = LocalLauncher().start(tiny_command(words, folder), tmp_path / "log")
    started = time.monotonic()
    while len(trial.values_of(folder, METRIC)) < 2:
        assert job.poll() is None and time.monotonic() - started < 120
        time.sleep(0.1)
    job.part()
    assert job.poll() == 130
    assert [step for step, _ in trial.values_of(folder, METRIC)][:2] == [1, 3]
    assert (folder / "checkpoints" / "last.ckpt").is_file()
