"""What training records: the history of steps, probe tables, and validation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import lightning as L
import msgspec
import numpy as np
from lightning.pytorch.callbacks import Callback

from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.rollout import record_of
from contraflow.experience.stream import StepFacts
from contraflow.system.files import append, whole_lines, write_atomically
from contraflow.system.progress import Bar
from contraflow.training.module import SamplerModule


class History(Callback):
    """``history.jsonl``: one line per step with every metric.

    On resume the file is truncated to the steps of the checkpoint.
    """

    def __init__(self, path: Path, bar: Callable[[], Bar | None]) -> None:
        self.path = path
        self.bar = bar
        self._step_started = 0.0
        self._learning_rate = 0.0

    def on_train_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        _cut_back(self.path, trainer.global_step)

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self._step_started = time.monotonic()
        # At the end of the step it is that of the next one.
        self._learning_rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        _trainer: L.Trainer,
        module: L.LightningModule,
        _outputs: Any,
        item: StepFacts,
        _index: int,
    ) -> None:
        outcome = cast(SamplerModule, module).outcome
        if outcome is None:
            return
        line = {
            "step": item.step,
            **outcome.metrics,
            "learning_rate": self._learning_rate,
            "step_seconds": time.monotonic() - self._step_started,
        }
        _append(self.path, line)
        if (bar := self.bar()) is not None:
            m = outcome.metrics
            note = f"log C {m['log_contradiction']:.2f}  log P_Q {m['log_p_question']:.1f}  "
            success = f"  success {m['strict_success']:.0%}" if "strict_success" in m else ""
            bar.advance(1, note + f"ok {m['question_ok']:.0%}" + success)


class Probes(Callback):
    """``probes.jsonl``: every few steps some questions with answers and all reward parts.

    Loggers that show tables (W&B) get them too.
    """

    def __init__(self, path: Path, every: int, rows: int = 8) -> None:
        self.path = path
        self.every = every
        self.rows = rows

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
        rows = []
        for i in range(0, len(batch.scored), max(1, len(batch.scored) // self.rows)):
            fact = batch.facts[int(batch.fact_index[i])]
            log_reward = float(outcome.log_reward[i])
            record = record_of(fact, batch.scored[i], log_reward, float(outcome.log_pf[i]))
            rows.append({"step": item.step, **msgspec.to_builtins(record)})
        _append(self.path, *rows)
        for logger in trainer.loggers:
            if hasattr(logger, "log_table"):
                data = [[_cell(value) for value in row.values()] for row in rows]
                logger.log_table(key="probes", columns=list(rows[0]), data=data, step=item.step)


class ReplayOfAll(Callback):
    """Gather the replay of all ranks where a validation is due, for ``best.ckpt``.

    Every rank has it; on rank 0 it comes before `Validation`, which no other rank has.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        _outputs: Any,
        item: StepFacts,
        _index: int,
    ) -> None:
        if _is_due(item.step + 1, self.every, trainer):
            cast(SamplerModule, module).gather_replay()


class Validation(Callback):
    """Sample on held-out facts every few steps, and keep the best checkpoint by one metric.

    `val_elbo` is the mean of log R / T - log P_F, with the reward as it is trained on. It is at
    most the mean log Z, and equal to it at the optimum, where every draw gives the same number.
    The mean of log R alone rises when a sampler gives up variety for its safest question, and it
    keeps varying with the draws however good the sampler is.
    """

    def __init__(
        self,
        path: Path,
        every: int,
        measure: Callable[[int], list[QuestionRecord]],
        best_by: str = "val_elbo",
        temperature: float = 1.0,
    ) -> None:
        self.path = path
        self.every = every
        self.measure = measure
        self.best_by = best_by
        self.temperature = temperature
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
        if not _is_due(done, self.every, trainer):
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


def _is_due(done: int, every: int, trainer: L.Trainer) -> bool:
    return done % every == 0 or done == trainer.max_steps


def _cut_back(path: Path, step: int) -> None:
    """Drop the lines of steps that a resumed run will make again."""
    rows = [row for row in whole_lines(path) if row.get("step", step) < step]
    write_atomically(path, _as_lines(rows))


def _append(path: Path, *rows: dict[str, Any]) -> None:
    append(path, _as_lines(rows))


def _extend_last_line(path: Path, values: dict[str, float]) -> None:
    rows = whole_lines(path)
    write_atomically(path, _as_lines([*rows[:-1], {**rows[-1], **values}]))


def _cell(value: Any) -> Any:
    return str(value) if isinstance(value, list) else value


def _as_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
