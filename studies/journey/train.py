"""`contraflow train` with the prototype's loss in place of the run's objective.

    python -m studies.journey.train experiment=quickstart name=prototype

Data, prompt, sampling, replay, reward, optimizer and evaluation are those of the overrides;
`objective.lam` is the loss's λ, the other settings of `objective.*` have no effect.
"""

from __future__ import annotations

import sys
from typing import Any

from contraflow import compose_config
from contraflow.cli.failures import report_failure
from contraflow.training import rank
from contraflow.training.job import train
from contraflow.training.module import SamplerModule
from studies.journey.loss import PrototypeLoss


def module_class(lam: float) -> type[SamplerModule]:
    """The training module with the prototype's loss."""

    class PrototypeModule(SamplerModule):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.loss = PrototypeLoss(self.loss.objective, lam=lam)

    return PrototypeModule


def main(overrides: list[str]) -> int:
    """Train, and return the exit code of `contraflow train`."""
    try:
        config = compose_config(overrides)
        rank.SamplerModule = module_class(config.objective.lam)  # type: ignore[attr-defined]
        train(config)
    except BaseException as error:
        return report_failure(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
