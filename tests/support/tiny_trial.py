"""The run of a trial: the training of `contraflow train` on tiny parts."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from contraflow.cli.failures import report_failure
from contraflow.training import job
from support.runs import tiny_config, use_tiny_parts


def main(words: list[str]) -> int:
    """Train with `facts=`, `run_dir=`, `optimizer.lr=`, `steps=` and `every=`.

    With the word `fail=1` a learning rate of 0.5 is an error.
    """
    given = dict(word.split("=", 1) for word in words)
    warnings.simplefilter("ignore")
    use_tiny_parts(setattr)
    config = tiny_config(Path(given["facts"]).parent)
    config.run_dir = given["run_dir"]
    config.optimizer.lr = float(given["optimizer.lr"])
    config.trainer.n_steps = int(given["steps"])
    config.trainer.validate_every = int(given.get("every", 2))
    config.trainer.checkpoint_every = 2
    if given["optimizer.lr"] == "0.5" and "fail" in given:
        sys.exit("contraflow: error: no such thing")
    try:
        job.train(config)
    except BaseException as error:
        return report_failure(error)
    return 0
