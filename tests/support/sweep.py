"""A trial for the tests: the training of `contraflow train` on tiny parts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from contraflow.sweep.space import Choices
from contraflow.sweep.study import Sweep

METRIC = "val_log_reward"


def tiny_command(overrides: Sequence[str], folder: Path) -> list[str]:
    """Return the command line of a trial, as `launcher.train_command` does."""
    python = [sys.executable, "-m", "support.forked", "support.tiny_trial:main"]
    return [*python, *overrides, f"run_dir={folder}"]


def sweep_of(
    folder: Path,
    *words: str,
    n: int = 2,
    prune: bool = False,
    rates: tuple[str, ...] = ("0.001", "0.01"),
) -> Sweep:
    """Return a sweep over learning rates."""
    overrides = [f"facts={folder / 'facts.jsonl'}", *(words or ("steps=4",))]
    space = {"optimizer.lr": Choices(rates)}
    return Sweep(folder / "quality", space, overrides, METRIC, METRIC, n, prune, seed=0)
