"""What is written down during training: history, probe tables, validation, and the word to stop."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any, cast

import lightning as L
import msgspec
import numpy as np
from lightning.pytorch.callbacks import Callback

from contraflow.distributed.ranks import Ranks
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.rollout import record_of
from contraflow.experience.stream import StepFacts
from contraflow.system.budget import Budget
from contraflow.system.files import append, whole_lines, write_atomically
from contraflow.system.progress import Bar
from contraflow.training.module import SamplerModule


class History(Callback):
    """``history.jsonl``: one line a step with every number; cut back to the checkpoint on resume."""

    def __init__(self, path: Path, bar: Callable[[], Bar | None]) -> None:
        self.path, self.bar = path, bar
        self._step_started = 0.0

    def on_train_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        _cut_back(self.path, trainer.global_step)

    def on_train_batch_start(self, *_: Any) -> None:
        self._step_started = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        _outputs: Any,
        item: StepFacts,
        _index: int,
    ) -> None:
        outcome = cast(SamplerModule, module).outcome
        if outcome is None:
            return
        rates = {"learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}
        seconds = time.monotonic() - self._step_started
        line = {"step": item.step, **outcome.metrics, **rates, "step_seconds": seconds}
        _append(self.path, line)
        if (bar := self.bar()) is not None:
            m = outcome.metrics
            note = f"log C {m['log_contradiction']:.2f}  log P_Q {m['log_p_question']:.1f}  "
            bar.advance(1, note + f"ok {m['question_ok']:.0%}  success {m['strict_success']:.0%}")


class Probes(Callback):
    """``probes.jsonl``: sampled questions with answers and every reward part, every few steps; W&B
    table too.
    """

    def __init__(self, path: Path, every: int, rows: int = 8) -> None:
        self.path, self.every, self.rows = path, every, rows

    def on_train_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        _cut_back(self.path, trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        _outputs: Any,
        item: StepFacts,
        _index: int,
    ) -> None:
        outcome = cast(SamplerModule, module).outcome
        if outcome is None or item.step % self.every:
            return
        batch = outcome.batch
        rows = [
            {
                "step": item.step,
                **msgspec.to_builtins(record_of(batch.facts[i], scored, log_r, log_pf)),
            }
            for i, scored, log_r, log_pf in zip(
                batch.fact_index.tolist(),
                batch.scored,
                outcome.log_reward.tolist(),
                outcome.log_pf.tolist(),
                strict=True,
            )
        ][:: max(1, len(batch.scored) // self.rows)]
        _append(self.path, *rows)
        for logger in trainer.loggers:
            if hasattr(logger, "log_table"):
                columns = list(rows[0])
                data = [
                    [str(v) if isinstance(v, list) else v for v in row.values()] for row in rows
                ]
                logger.log_table(key="probes", columns=columns, data=data, step=item.step)


class Validation(Callback):
    """Held-out facts every few steps, and the best checkpoint by one of the numbers.

    `val_elbo` is the mean of log R / T - log P_F, the reward as it is trained on: at most the mean log Z, and equal
    to it at the optimum, where every draw gives the same number. The mean of log R alone rises when a sampler gives
    up variety for its safest question, and goes on varying with the draws however good the sampler is.
    """

    def __init__(
        self,
        path: Path,
        every: int,
        measure: Callable[[int], list[QuestionRecord]],
        best_by: str = "val_elbo",
        temperature: float = 1.0,
    ) -> None:
        self.path, self.every, self.measure = path, every, measure
        self.best_by, self.temperature = best_by, temperature
        self.best: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        _outputs: Any,
        item: StepFacts,
        _index: int,
    ) -> None:
        done = item.step + 1
        if done % self.every and done != trainer.max_steps:
            return
        records = self.measure(done)
        log_reward = np.array([r.log_reward for r in records])
        log_pf = np.array([r.log_pf for r in records])
        values = {
            "val_elbo": float((log_reward / self.temperature - log_pf).mean()),
            "val_log_reward": float(log_reward.mean()),
            "val_log_contradiction": float(np.mean([r.log_contradiction for r in records])),
            "val_log_p_question": float(np.mean([r.log_p_question for r in records])),
        }
        _extend_last_line(self.path, values)
        module.log_dict(values)
        if self.best is None or values[self.best_by] > self.best:
            self.best = values[self.best_by]
            trainer.save_checkpoint(self.path.parent / "checkpoints" / "best.ckpt")


class Stop(IntEnum):
    """Why to stop after a step; of several ranks' reasons the highest counts."""

    NO = 0
    OUT_OF_TIME = 1
    SIGNAL = 2


class GracefulStop(Callback):
    """``last.ckpt`` every few steps, at the end, and when the time is used up or SIGINT or SIGTERM
    asks.

    A second signal is immediate. Every rank has one of these: where one has a reason to stop, all
    stop after the same step. Rank 0 writes.
    """

    def __init__(
        self, path: Path, every: int, ranks: Ranks | None = None, budget: Budget | None = None
    ) -> None:
        self.path, self.every, self.ranks = path, every, ranks or Ranks()
        self.budget = budget or Budget()
        self.why = Stop.NO  # once training has ended
        self._asked = False
        self._previous: dict[int, Any] = {}

    def setup(self, *_: Any, **__: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._ask)

    def on_train_start(self, *_: Any) -> None:
        """Lightning has put a handler of its own before ours: it would end the run at once, as if
        by an error.
        """
        for number in self._previous:
            signal.signal(number, self._ask)

    def teardown(self, *_: Any, **__: Any) -> None:
        self.restore()

    def restore(self) -> None:
        """Put back the handlers that were there; again after Lightning's own tidying up, which
        brings ours back.
        """
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._asked:
            self.restore()
            os.kill(os.getpid(), number)
        self._asked = True

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        _outputs: Any,
        item: StepFacts,
        _index: int,
    ) -> None:
        done = item.step + 1
        why = self._agreed(item.step)
        if why or done % self.every == 0 or done == trainer.max_steps:
            cast(SamplerModule, module).gather_replay()
            if self.ranks.is_first:
                trainer.save_checkpoint(self.path)
            self.ranks.broadcast(
                b"", f"checkpoint after step {item.step}"
            )  # nobody goes on, or ends, before it
        if why:
            self.why, trainer.should_stop = (
                why,
                True,
            )  # an exception would keep this step from the loggers

    def _agreed(self, step: int) -> Stop:
        phase = f"end of step {step}"  # for others; rank 0 may be validating
        mine = (
            Stop.SIGNAL if self._asked else Stop.OUT_OF_TIME if self.budget.is_used_up else Stop.NO
        )
        answers = self.ranks.gather(bytes([mine]), phase)  # on other ranks than 0 there are none
        return Stop(self.ranks.broadcast(max(answers, default=b""), phase)[0])


def _cut_back(path: Path, step: int) -> None:
    rows = [row for row in whole_lines(path) if row["step"] < step]
    write_atomically(path, _as_lines(rows))


def _append(path: Path, *rows: dict[str, Any]) -> None:
    append(path, _as_lines(rows))


def _extend_last_line(path: Path, values: dict[str, float]) -> None:
    rows = whole_lines(path)
    write_atomically(path, _as_lines([*rows[:-1], {**rows[-1], **values}]))


def _as_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
