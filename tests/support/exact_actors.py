"""Train a space's policy with a learner's experience, and measure it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L

from contraflow.actors.experience import LearnerExperience
from contraflow.actors.follower import FollowerExperience
from contraflow.exactness.check import _total_variation
from contraflow.exactness.space import FACTS, Space
from contraflow.experience.stream import FactStream
from contraflow.gflownet.objectives import Objective
from contraflow.settings.learning import OptimizerConfig
from contraflow.training.loss import StepLoss
from contraflow.training.module import SamplerModule
from contraflow.training.publishing import Publishing, Ratios


class Recorder(L.Callback):
    """Keeps the metrics of every step, and tells how many there are."""

    def __init__(self, on_step: Callable[[int], None]) -> None:
        self.steps: list[dict[str, float]] = []
        self._on_step = on_step

    def on_train_batch_end(self, _trainer: Any, module: Any, *_: Any) -> None:
        self.steps.append(dict(module.outcome.metrics))
        self._on_step(len(self.steps))


def _ignored(_n_steps: int) -> None:
    return None


def fit_space(
    space: Space,
    learner: LearnerExperience | FollowerExperience,
    objective: Objective | StepLoss,
    n_steps: int,
    lr: float = 6e-3,
    on_step: Callable[[int], None] = _ignored,
) -> list[dict[str, float]]:
    """Train for some steps, end the actors, and return the metrics of each step.

    Each of several learners calls it, with an experience of its own.
    """
    has_exchange = isinstance(learner, LearnerExperience)
    optimizer = OptimizerConfig(lr=lr, flow_lr=1e-2, log_z_lr=1e-2, final_lr_share=0.005)
    module = SamplerModule(
        space.policy,
        learner,
        space.reward,
        objective,
        optimizer,
        n_steps=n_steps,
        ranks=learner.ranks,
    )
    recorder = Recorder(on_step)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=n_steps,
        gradient_clip_val=1.0,
        callbacks=[Publishing(learner) if has_exchange else Ratios(), recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(module, FactStream(FACTS, len(FACTS), n_steps, learner.seed))
    finally:
        if has_exchange:
            learner.exchange.close()
        learner.replay.close()
    return recorder.steps


def total_variation(space: Space) -> float:
    """Distance of the policy from R / Z in the worse of the two facts."""
    return max(_total_variation(space, fact) for fact in FACTS)
