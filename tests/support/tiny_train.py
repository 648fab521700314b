"""`python -m support.tiny_train OVERRIDES`: the training of `contraflow train` on tiny parts.

Overrides of numbers are applied to `tiny_config`. With TINY_STOP_AT=3 in the environment, training
gets a signal to stop in step 3.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from contraflow.cli.failures import report_failure
from contraflow.facts import write_facts
from contraflow.settings import Config, EvaluationConfig
from contraflow.training import job
from contraflow.training.module import SamplerModule
from support.runs import tiny_config, tiny_facts, use_tiny_parts

FEW = EvaluationConfig(n_samples=2, training_facts=2, target_facts=2, target_samples=4)


def config_of(words: list[str]) -> Config:
    """The tiny config with the numbers of the overrides."""
    values = dict(word.split("=", 1) for word in words)
    folder = Path(values["run_dir"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    facts = folder.parent / "facts.jsonl"
    # At once: another run of the plan may be reading them.
    write_facts(facts, [replace(fact, original_answer=fact.relation) for fact in tiny_facts()])
    config = tiny_config(folder.parent, folder.name, evaluation=FEW)
    for key, value in values.items():
        owner: Any = config
        *path, last = key.split(".")
        for part in path:
            owner = getattr(owner, part)
        if isinstance(getattr(owner, last, None), int | float):
            setattr(owner, last, type(getattr(owner, last))(float(value)))
    return config


def stop_in(step: int) -> None:
    """Send this process a signal while the step computes its loss."""
    original = SamplerModule.training_step

    def training_step(self: SamplerModule, item: Any, index: int) -> Any:
        if item.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, item, index)

    SamplerModule.training_step = training_step  # type: ignore[method-assign]


def main(words: list[str]) -> int:
    """Train; words that are no overrides are left out."""
    warnings.simplefilter("ignore")
    use_tiny_parts(setattr)
    if "TINY_STOP_AT" in os.environ:
        stop_in(int(os.environ["TINY_STOP_AT"]))
    try:
        job.train(config_of([word for word in words if "=" in word]))
    except BaseException as error:
        return report_failure(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
