"""One of two ranks with a judge of its own: `support.own_ranks:main FOLDER NAME DIFFERENCE`.

With a DIFFERENCE of 1, the judges of the two ranks have other identities.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from contraflow.cli.failures import report_failure
from contraflow.distributed.rank_info import rank_info_from_environment
from contraflow.settings import ExchangeConfig
from contraflow.training import job
from support.own_objects import Absolute, Half
from support.runs import tiny_config, use_tiny_parts


def main(words: list[str]) -> int:
    """Train a tiny run with scatter, and return the exit code of the command line."""
    folder, name, difference = Path(words[0]), words[1], int(words[2])
    warnings.simplefilter("ignore")
    use_tiny_parts(setattr)
    place = rank_info_from_environment()
    assert place is not None
    judge = Half(f"half-{place.rank * difference}")
    config = tiny_config(folder, name, exchange=ExchangeConfig(kind="scatter", timeout_s=60.0))
    try:
        job.train(config, judge=judge, objective=Absolute())
    except BaseException as error:
        return report_failure(error)
    return 0
