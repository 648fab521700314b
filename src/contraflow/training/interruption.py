"""A run that was asked to stop: the exceptions, and their messages."""

from __future__ import annotations

from pathlib import Path

from contraflow.errors import INTERRUPTED, OUT_OF_TIME, UserError
from contraflow.settings import Config
from contraflow.training.callbacks import Stop


class Interrupted(UserError):
    """Stopped on request, after a checkpoint; the message says how to go on."""

    exit_code = INTERRUPTED


class OutOfTime(Interrupted):
    """Stopped because `trainer.max_time` is used up."""

    exit_code = OUT_OF_TIME


def interruption(why: Stop, step: int, config: Config, checkpoint: Path) -> Interrupted:
    """The exception for a run that stopped after a step."""
    on = f"a checkpoint is in {checkpoint}. Start the same command again to go on"
    if why is Stop.OUT_OF_TIME:
        trainer = config.trainer
        used_up = (
            f"trainer.max_time={trainer.max_time} is used up at step {step} of {trainer.n_steps}"
        )
        return OutOfTime(f"{used_up}; {on}, with as much time again")
    return Interrupted(f"stopped at step {step}; {on}")
