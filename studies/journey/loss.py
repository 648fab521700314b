"""The prototype's loss: modified SubTB in which one terminal reward stands for every prefix.

Modified SubTB (Hu et al. 2024) balances two prefixes s_i and s_j of a question, each of which could
end there, with rewards of their own:

    r_ij = log R(s_i) − log R(s_j) + Σ_{i≤k<j} log P_F(y_{k+1} | s_k)
           + log P_F(stop | s_j) − log P_F(stop | s_i)
    loss = Σ_{i<j} λ^{j−i} r_ij² / Σ_{i<j} λ^{j−i}

The prototype had a reward for the whole question only, and expanded it over the prefixes:
log R(s_i) = log R(s_j) = log R(question). It cancels in every r_ij, so neither the loss nor its
gradient depends on it. What is left asks that ending at s_j be as likely as ending at s_i times the
tokens in between, whatever they say. The reward still decides which questions replay returns, and
nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.experience.collect import Batch
from contraflow.training.loss import StepLoss
from contraflow.types import PathLogProbs, TerminalReward, as_mask


def prototype_loss(
    paths: PathLogProbs, log_reward: Float[Tensor, " b"], lam: float = 1.0
) -> Float[Tensor, ""]:
    """The mean over questions of the loss above, in nats², over prefixes that may stop."""
    rewards = log_reward[:, None].expand_as(paths.log_pterm)
    tokens = torch.nn.functional.pad(paths.log_pf, (1, 0)).cumsum(1)
    may_stop = torch.isfinite(paths.log_pterm) & as_mask(paths.lengths + 1, rewards.shape[1])
    stop = paths.log_pterm.masked_fill(~may_stop, 0.0)
    level = rewards - stop - tokens
    residual = level[:, :, None] - level[:, None, :]
    place = torch.arange(rewards.shape[1], device=level.device)
    distance = place[None, :] - place[:, None]
    pairs = may_stop[:, :, None] & may_stop[:, None, :] & (distance > 0)
    weight = pairs * lam ** distance.clamp(min=0).to(level.dtype)
    per_path = (weight * residual.square()).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-9)
    return per_path.mean()


@dataclass(frozen=True)
class PrototypeLoss(StepLoss):
    """The loss of a step in place of the run's objective, which only counts the terms."""

    lam: float = 1.0

    def __call__(
        self,
        _batch: Batch,
        reward: TerminalReward,
        paths: PathLogProbs,
        *_: object,
    ) -> Float[Tensor, ""]:
        """The loss of a batch; it does not change with the rewards."""
        return prototype_loss(paths, reward.log_reward, self.lam)
