"""A run that stops before its end: why, after which step, and what the user reads."""

from __future__ import annotations

import os
import signal
import threading
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import Callback

from contraflow.distributed.ranks import Ranks
from contraflow.errors import INTERRUPTED, OUT_OF_TIME, UserError
from contraflow.experience.stream import StepFacts
from contraflow.settings import Config
from contraflow.system.budget import Budget
from contraflow.system.stop_signals import is_urgent, stop_signals
from contraflow.training.module import SamplerModule


class Stop(IntEnum):
    """Why to stop after a step; the highest of all ranks' reasons counts."""

    NO = 0
    OUT_OF_TIME = 1
    SIGNAL = 2


class GracefulStop(Callback):
    """Write ``last.ckpt`` every few steps and at the end; stop on a signal or when time is up.

    SIGINT, SIGTERM and SIGHUP stop the run after the current step; a second signal acts at once.
    Every rank has this callback, and all ranks stop after the same step. Rank 0 writes.
    """

    def __init__(
        self, path: Path, every: int, ranks: Ranks | None = None, budget: Budget | None = None
    ) -> None:
        self.path = path
        self.every = every
        self.ranks = ranks or Ranks()
        self.budget = budget or Budget()
        self.why = Stop.NO  # the reason, once training has ended
        self._got_signal = False
        self._previous: dict[int, Any] = {}

    def setup(self, *_: Any, **__: Any) -> None:
        """Install the signal handlers; a signal never reaches a thread other than the main one."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in stop_signals():
            self._previous[number] = signal.signal(number, self._on_signal)

    def on_train_start(self, *_: Any) -> None:
        """Install the handlers again: Lightning's own would end the run at once, as an error."""
        for number in self._previous:
            signal.signal(number, self._on_signal)

    def teardown(self, *_: Any, **__: Any) -> None:
        """Restore the handlers."""
        self.restore()

    def restore(self) -> None:
        """Restore the previous handlers.

        Called again after `fit`, because Lightning's own teardown puts ours back.
        """
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if is_urgent(number, is_repeated=self._got_signal):
            self.restore()
            os.kill(os.getpid(), number)
        self._got_signal = True

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        _outputs: Any,
        item: StepFacts,
        _index: int,
    ) -> None:
        """Checkpoint where it is due, and stop where any rank has a reason to."""
        done = item.step + 1
        why = self._agreed(item.step)
        if why or done % self.every == 0 or done == trainer.max_steps:
            cast(SamplerModule, module).gather_replay()
            if self.ranks.is_first:
                trainer.save_checkpoint(self.path)
            # No rank continues or ends before the checkpoint is written.
            self.ranks.broadcast(b"", f"checkpoint after step {item.step}")
        if why:
            self.why = why
            # An exception here would keep this step from the loggers.
            trainer.should_stop = True

    def _agreed(self, step: int) -> Stop:
        """The reason that all ranks agree on. Collective; rank 0 may still be validating."""
        phase = f"end of step {step}"
        own = Stop.NO
        if self.budget.is_used_up:
            own = Stop.OUT_OF_TIME
        if self._got_signal:
            own = Stop.SIGNAL
        reasons = self.ranks.gather(bytes([own]), phase)  # empty on ranks other than 0
        return Stop(self.ranks.broadcast(max(reasons, default=b""), phase)[0])


class Interrupted(UserError):
    """Stopped on request, after a checkpoint; the message says how to resume."""

    exit_code = INTERRUPTED


class OutOfTime(Interrupted):
    """Stopped because `trainer.max_time` is used up."""

    exit_code = OUT_OF_TIME


def interruption(why: Stop, step: int, config: Config, checkpoint: Path) -> Interrupted:
    """The exception for a run that stopped after a step."""
    resume = f"a checkpoint is in {checkpoint}. Start the same command again to go on"
    if why is Stop.OUT_OF_TIME:
        trainer = config.trainer
        used_up = (
            f"trainer.max_time={trainer.max_time} is used up at step {step} of {trainer.n_steps}"
        )
        return OutOfTime(f"{used_up}; {resume}, with as much time again")
    return Interrupted(f"stopped at step {step}; {resume}")
