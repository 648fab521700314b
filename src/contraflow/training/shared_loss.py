"""The loss of a learner that has a share of a batch, which was dealt by whole facts."""

from __future__ import annotations

from contraflow.experience.collect import Batch
from contraflow.experience.density import DrawnBatch
from contraflow.training.loss import StepLoss


class SharedLoss(StepLoss):
    """A `StepLoss` whose terms count what its mean is over, also for questions of several kinds.

    Of a batch that mixes new and stored questions, facts may have different numbers of draws. A
    weighted loss is a mean over facts all the same, and so is a policy gradient, whose ratios are
    weights. The forward KL alone is a mean over groups: a fact with questions of both kinds is two.
    Beside an objective it counts what the objective does, which is exact where each fact has one
    kind, and, without weights, where all facts have as many questions.
    """

    def terms(self, batch: Batch) -> int:
        """Return the number of terms that the loss is the mean of, by which ranks are weighted."""
        if min(self.share.start, self.share.end) == 1 and isinstance(batch, DrawnBatch):
            is_stored = [q is None for q in batch.log_q]
            return len(set(zip(batch.owners, is_stored, strict=True)))
        if batch.weighs_loss or self.objective.on_policy:
            return len(set(batch.owners))
        return self.objective.terms(batch.fact_index)
