"""The loss of a step: the objective, and beside it the forward KL on the same questions.

Questions that another version of the policy drew (`DrawnBatch`) bring their density. The forward KL
takes it as it is; a policy gradient weights them by the ratio of the current policy to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.experience.collect import Batch
from contraflow.experience.density import DrawnBatch, log_density, ratio_weight
from contraflow.gflownet.forward_kl import forward_kl
from contraflow.gflownet.objectives import Objective, Weight
from contraflow.gflownet.potentials import Potentials, TokenTerms
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.ramps import LinearSchedule
from contraflow.settings.learning import ObjectiveConfig
from contraflow.training.terms import Terms
from contraflow.types import PathLogProbs, TerminalReward, as_mask

NO_FORWARD_KL = LinearSchedule(0.0, 0.0, 0)


@dataclass(frozen=True)
class StepLoss:
    """(1 − s) · objective + s · forward KL, where s follows a schedule over the steps."""

    objective: Objective
    share: LinearSchedule = NO_FORWARD_KL
    power: float = 1.0
    n_samples: int = 1  # questions drawn of a fact

    @classmethod
    def of(
        cls, objective: Objective, settings: ObjectiveConfig, n_steps: int, n_samples: int = 1
    ) -> StepLoss:
        """The loss of a run of ``n_steps`` that draws ``n_samples`` of a fact, by its settings."""
        start = settings.forward_kl
        end = start if settings.forward_kl_end is None else settings.forward_kl_end
        horizon = settings.forward_kl_horizon or n_steps
        share = LinearSchedule(start, end, horizon)
        return cls(objective, share, settings.forward_kl_power, n_samples)

    @property
    def uses_forward_kl(self) -> bool:
        """Whether the forward KL has a share at some step."""
        return max(self.share.start, self.share.end) > 0

    def has_objective(self, step: int) -> bool:
        """Whether the objective has a share at a step, beside the forward KL or alone."""
        return self.share(step) < 1

    def has_both(self, step: int) -> bool:
        """Whether objective and forward KL both have a share at a step."""
        return 0 < self.share(step) < 1

    def terms(self, batch: Batch, step: int) -> int:
        """Return the number of terms by which a rank's gradients of a step are weighted."""
        if self.has_objective(step):
            return self._objective_terms(batch)
        return self._forward_kl_terms(batch)

    def terms_of_both(self, batch: Batch) -> Terms:
        """Return the numbers of terms of objective and forward KL."""
        return Terms(self._objective_terms(batch), self._forward_kl_terms(batch))

    def _objective_terms(self, batch: Batch) -> int:
        """A weighted loss is a mean over facts, whatever number of questions they have.

        A fact counts like n plain draws, since another rank may replay questions without weights
        in the same step.
        """
        if not (batch.weighs_loss or self._needs_ratios(batch)):
            return self.objective.terms(batch.fact_index)
        of_fact = self.objective.terms(torch.zeros(self.n_samples, dtype=torch.long))
        return len(set(batch.owners)) * max(1, of_fact)

    def _forward_kl_terms(self, batch: Batch) -> int:
        """The number of groups of `Densities`."""
        if not isinstance(batch, DrawnBatch):
            return len(set(batch.owners))
        is_stored = [q is None for q in batch.log_q]
        return len(set(zip(batch.owners, is_stored, strict=True)))

    def __call__(
        self,
        batch: Batch,
        reward: TerminalReward,
        paths: PathLogProbs,
        u: Potentials,
        policy: LoraPolicy,
        step: int,
        forward_kl_factor: float = 1.0,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch; a term without a share is not computed.

        Args:
            forward_kl_factor: of one of several ranks, see `Terms`.
        """
        share = self.share(step)
        weight = self._weight(batch, paths)
        if share == 0:
            return self.objective(u, batch.fact_index, weight)
        drawn = Densities.of(batch, paths, policy)
        kl = forward_kl(
            reward.log_reward,
            paths.log_p_question,
            drawn.log_weight,
            drawn.log_q,
            drawn.group,
            self.power,
        )
        loss = share * forward_kl_factor * kl
        if share < 1:
            balance = self.objective(u, batch.fact_index, weight)
            loss = loss + (1 - share) * balance
        return loss

    def _weight(self, batch: Batch, paths: PathLogProbs) -> Weight:
        """The weights of the objective; balance losses need no ratio to what was sampled."""
        if self._needs_ratios(batch):
            assert isinstance(batch, DrawnBatch)
            return ratio_weight(batch, paths.log_p_question)
        return batch.loss_weight

    def _needs_ratios(self, batch: Batch) -> bool:
        return self.objective.on_policy and isinstance(batch, DrawnBatch)


@dataclass(frozen=True)
class Densities:
    """What the forward KL asks of b questions; see `forward_kl`.

    Replay is a chosen set, not a sample: its questions have no density. Beside drawn questions of
    the same fact they are a group of their own.
    """

    log_weight: Float[Tensor, " b"]
    log_q: Float[Tensor, " b"]
    group: Int[Tensor, " b"]

    @classmethod
    def of(cls, batch: Batch, paths: PathLogProbs, policy: LoraPolicy) -> Densities:
        """The densities of a batch. The policy drew its new questions, if it is no `DrawnBatch`."""
        log_weight = batch.weight.log()
        group = batch.fact_index
        if isinstance(batch, DrawnBatch):
            log_q = batch.log_density
            stored = batch.is_stored
            group = group + len(batch.facts) * stored
            return cls(log_weight.masked_fill(stored, 0.0), log_q, group)
        if batch.n_replayed > 0:
            return cls(log_weight, torch.zeros_like(log_weight), group)
        return cls(log_weight, log_density(batch, paths, policy), group)


def token_terms(
    batch: Batch, reward: TerminalReward, paths: PathLogProbs, prior_weight: float, ceiling: float
) -> TokenTerms:
    """Return the log-probabilities of each token and of the stop, by policy and prior.

    Args:
        prior_weight: w / T, the weight of log P_Q in log R.
        ceiling: of log P_Q in log R.
    """
    at_stop = paths.lengths[:, None]
    padded = torch.nn.functional.pad(paths.log_pf, (0, 1))
    log_pf = padded.scatter(1, at_stop, paths.log_p_stop[:, None])
    log_prior = torch.zeros(log_pf.shape)
    for row, scored in enumerate(batch.scored):
        log_prior[row, : len(scored.log_prior)] = torch.tensor(scored.log_prior)
    log_prior = log_prior.to(log_pf.device)
    score = reward.log_reward - prior_weight * log_prior.sum(1).clamp(max=ceiling)
    return TokenTerms(log_pf, log_prior, as_mask(paths.lengths + 1, log_pf.shape[1]), score)
