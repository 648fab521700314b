"""A trial for the tests: the training of `contraflow train` on tiny parts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from contraflow.sweep.space import Choices
from contraflow.sweep.study import Sweep

TRAIN = """
import sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from support import runs as t
from contraflow.training import job
from contraflow.cli.failures import report_failure

words = dict(word.split("=", 1) for word in sys.argv[1:])
t.use_tiny_parts(setattr)
folder = Path(words["run_dir"])
config = t.tiny_config(Path(words["facts"]).parent)
config.run_dir = words["run_dir"]
config.optimizer.lr = float(words["optimizer.lr"])
config.trainer.n_steps = int(words["steps"])
config.trainer.validate_every = int(words.get("every", 2))
config.trainer.checkpoint_every = 2
if words["optimizer.lr"] == "0.5" and "fail" in words:
    sys.exit("contraflow: error: no such thing")
try:
    job.train(config)
except BaseException as error:
    sys.exit(report_failure(error))
"""
METRIC = "val_log_reward"


def tiny_command(overrides: Sequence[str], folder: Path) -> list[str]:
    """Return the command line of a trial, as `launcher.train_command` does."""
    return [sys.executable, "-c", TRAIN, *overrides, f"run_dir={folder}"]


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
