"""Sweeps with real runs of a tiny model: every combination, resumed after a kill, pruned, told."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contraflow.sweep import study, trial
from contraflow.sweep.outcome import write_outcome
from contraflow.sweep.space import Choices
from contraflow.sweep.study import Sweep, run_sweep, settings_of
from tiny_runs import write_tiny_facts

# What a trial runs in place of `python -m contraflow.cli train`: the same training on tiny parts.
TRAIN = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import tiny_runs as t
from contraflow import training
from contraflow.cli.failures import tell

words = dict(word.split("=", 1) for word in sys.argv[1:])
t.use_tiny_parts(setattr)
folder = Path(words["run_dir"])
config = t.tiny_config(Path(words["facts"]).parent)
config.run_dir = words["run_dir"]
config.optimizer.lr = float(words["optimizer.lr"])
config.trainer.n_steps, config.trainer.validate_every = int(words["steps"]), 2
config.trainer.checkpoint_every = 2
if words["optimizer.lr"] == "0.5" and "fail" in words:
    sys.exit("contraflow: error: no such thing")
try:
    training.train(config)
except BaseException as error:
    sys.exit(tell(error))
"""


@pytest.fixture(autouse=True)
def tiny_trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import os

    write_tiny_facts(tmp_path / "facts.jsonl")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    original = subprocess.Popen

    def popen(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        return original([sys.executable, "-c", TRAIN, *command[4:]], **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(trial.subprocess, "Popen", popen)


def sweep_of(
    folder: Path, *words: str, n: int = 2, prune: bool = False, rates: tuple[str, ...] = ("0.001", "0.01")
):
    overrides = [f"facts={folder / 'facts.jsonl'}", *(words or ("steps=4",))]
    space = {"optimizer.lr": Choices(rates)}
    metric = "val_log_reward"
    return Sweep(folder / "quality", space, overrides, metric, metric, n, prune, seed=0)


@pytest.mark.slow
def test_every_combination_once_then_a_table_and_a_picture(tmp_path: Path):
    said: list[str] = []
    trials = run_sweep(sweep_of(tmp_path), said.append)
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
    assert len(run_sweep(sweep_of(tmp_path), said.append)) == 2


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_its_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study, "run_trial", killed)  # the process ends while a trial is under way
        with pytest.raises(KeyboardInterrupt):
            run_sweep(sweep_of(tmp_path), print)
    trials = run_sweep(sweep_of(tmp_path), print)
    ended = [settings_of(t)["optimizer.lr"] for t in trials if t.value is not None]
    assert sorted(ended) == ["0.001", "0.01"]
    assert write_outcome(tmp_path / "quality", trials, "val_log_reward").count("complete") == 2


@pytest.mark.slow
def test_a_trial_that_fails_is_told_and_the_others_run(tmp_path: Path):
    said: list[str] = []
    sweep = sweep_of(tmp_path, "steps=2", "fail=1", rates=("0.5", "0.001"))
    trials = run_sweep(sweep, said.append)
    assert any("failed: contraflow: error: no such thing" in line for line in said)
    table = write_outcome(tmp_path / "quality", trials, "val_log_reward")
    assert table.count("| fail |") == 1 and table.count("| complete |") == 1


@pytest.mark.slow
def test_a_run_that_is_stopped_keeps_its_checkpoint(tmp_path: Path):
    folder = tmp_path / "run"
    words = [f"facts={tmp_path / 'facts.jsonl'}", "steps=100000", "optimizer.lr=0.001"]
    seen: list[int] = []

    def should_stop(step: int, _value: float) -> bool:
        seen.append(step)
        return len(seen) == 2

    started = time.monotonic()
    assert trial.run_trial(words, folder, tmp_path / "log", "val_log_reward", should_stop) is False
    assert seen == [1, 3] and time.monotonic() - started < 120
    assert (folder / "checkpoints" / "last.ckpt").is_file()
