"""The learner's side of `exchange=actors` in Lightning: publish, log, and keep the state."""

from __future__ import annotations

from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import Callback

from contraflow.actors.experience import LearnerExperience
from contraflow.actors.weights import weights_of
from contraflow.experience.density import DrawnBatch, ratio_metrics
from contraflow.experience.stream import StepFacts
from contraflow.training.module import SamplerModule

_FORGET_ABOVE = 10_000  # uses of fewer questions than this are kept, stored or not


class Ratios(Callback):
    """Adds to the numbers of a step how far the policy has moved from what actors sampled."""

    def on_after_backward(self, _trainer: L.Trainer, module: L.LightningModule) -> None:
        """Add this rank's numbers, before the module averages those of all ranks and logs them."""
        outcome = cast(SamplerModule, module).outcome
        assert outcome is not None
        if isinstance(outcome.batch, DrawnBatch):
            outcome.metrics.update(ratio_metrics(outcome.batch, outcome.log_pf))


class Publishing(Ratios):
    """Publish the adapter every few steps, and add the exchange's numbers to those of a step.

    A checkpoint holds the number of the next assignment and the uses of questions, so that a
    resumed run draws the next facts and keeps to `exchange.max_reuse`, with any number of actors.
    """

    def __init__(self, experience: LearnerExperience) -> None:
        self.experience = experience
        self._forget_above = _FORGET_ABOVE

    def on_train_start(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Publish the first version and start the actors, after a checkpoint was loaded."""
        self.experience.find_stored()
        weights = weights_of(self.experience.policy)
        self.experience.exchange.open(trainer.global_step, weights)

    def on_after_backward(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Add the exchange's numbers, which are of all learners, to rank 0's."""
        super().on_after_backward(trainer, module)
        outcome = cast(SamplerModule, module).outcome
        assert outcome is not None
        outcome.metrics.update(self._metrics())

    def on_train_batch_end(
        self,
        _trainer: L.Trainer,
        _module: L.LightningModule,
        _outputs: Any,
        item: StepFacts,
        _index: int,
    ) -> None:
        """Publish the adapter if a version is due."""
        policy = self.experience.policy
        self.experience.exchange.publish(item.step + 1, lambda: weights_of(policy))

    def state_dict(self) -> dict[str, Any]:
        """The next assignment and the uses, as plain numbers."""
        uses = self.experience.uses
        if len(uses) > self._forget_above:
            self.experience.forget_unstored()
            self._forget_above = max(_FORGET_ABOVE, 2 * len(uses))
        return {
            "next_number": self.experience.exchange.ledger.next_number,
            "uses": uses.state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where a checkpoint was written."""
        self.experience.exchange.ledger.next_number = int(state_dict["next_number"])
        self.experience.uses.load(state_dict["uses"])

    def _metrics(self) -> dict[str, float]:
        bounds = self.experience.bounds
        counts = self.experience.exchange.counts()
        rates = self.experience.exchange.meter.step()
        return {
            "version": counts.version,
            "versions_behind": bounds.versions_behind,
            "versions_behind_mean": bounds.versions_behind_mean,
            "uses": bounds.uses,
            "uses_mean": bounds.uses_mean,
            "questions_per_second": rates.questions_per_second,
            "learned_per_second": rates.learned_per_second,
            "actors_idle": rates.actors_idle,
            "learner_idle": rates.learner_idle,
            "restarts": counts.restarts,
            "expired": counts.expired,
        }
