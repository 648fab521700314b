"""Policy gradients beside the balance losses: RLOO and GRPO, for comparison.

Both take questions that the current policy drew at temperature 1, and one update per batch, so the
probability ratio to the sampling policy is 1 and clipping it has no effect. Their losses have the
right gradient; their values are not a distance to anything. Questions of actors are older: their
weights hold the ratio (`experience/density.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.gflownet.groups import group_mean, group_sum, mean_over_facts
from contraflow.gflownet.objectives import MeanOverQuestions, Weight
from contraflow.gflownet.potentials import Potentials

_STD_FLOOR = 1e-4  # TRL's, which keeps equal rewards from dividing by zero
_LARGEST_EXPONENT = 20.0


@dataclass(frozen=True)
class Rloo(MeanOverQuestions):
    """REINFORCE with a leave-one-out baseline (Kool et al. 2019; Ahmadian et al. 2024).

    The reward of a question is log R − log P_F = u_{L+1}: its mean is maximal at R / Z, so the
    optimum is that of the balance losses. Multiplied by the reward temperature T it is
    log C + … − T (log P_F − log P_Q) when `likelihood_weight` = T, which is the usual reward with a
    KL term of weight T. On policy the gradient is half of VarGrad's, where the variance has n − 1
    in place of n.
    """

    on_policy = True

    def __call__(
        self, potentials: Potentials, group: Int[Tensor, " b"], weight: Weight = None
    ) -> Float[Tensor, ""]:
        signal = potentials.terminal
        advantage = leave_one_out(signal.detach(), group, weight)
        # The gradient of u_{L+1} is that of −log P_F.
        return mean_over_facts(advantage * signal, group, weight)


def leave_one_out(
    reward: Float[Tensor, " b"], group: Int[Tensor, " b"], weight: Weight = None
) -> Float[Tensor, " b"]:
    """Return the reward minus the mean reward of the fact's other questions; 0 without others.

    With weights: Σ_j w_j (r_i − r_j), whose product with w_i has no bias for questions that were
    drawn without replacement (Kool et al. 2020, "Estimating gradients for discrete random variables
    by sampling without replacement").
    """
    if weight is not None:
        return group_sum(weight, group) * reward - group_sum(weight * reward, group)
    n = group_sum(torch.ones_like(reward), group)
    return (reward - group_mean(reward, group)) * n / (n - 1).clamp(min=1)


@dataclass(frozen=True)
class Grpo(MeanOverQuestions):
    """Group-relative policy gradient (Shao et al. 2024, arXiv 2402.03300), mean over tokens.

    The reward is log R without its prior term, minus its mean, over its standard deviation within
    the fact. The KL to the prior is a term of its own, per token, of weight ``beta``
    (e^x − x − 1 with x = log P_Q − log P_F, times the probability ratio, as TRL 1.16 computes it).
    Because of the normalization and the mean over tokens the optimum is not R / Z.
    """

    beta: float = 0.04
    needs_tokens = True
    on_policy = True

    def __call__(
        self, potentials: Potentials, group: Int[Tensor, " b"], weight: Weight = None
    ) -> Float[Tensor, ""]:
        tokens = potentials.tokens
        if tokens is None:
            raise ValueError("this objective needs Potentials.tokens")
        advantage = normalized(tokens.score, group, weight)
        # 1 with the gradient of log P_F: the ratio to the policy that sampled.
        ratio = (tokens.log_pf - tokens.log_pf.detach()).exp()
        log_ratio = (tokens.log_prior - tokens.log_pf).clamp(max=_LARGEST_EXPONENT)
        kl = log_ratio.expm1() - log_ratio
        # The ratio corrects the gradient of the KL estimate to that of the KL, which is −x.
        loss = ratio * (self.beta * kl - advantage[:, None])
        per_question = (loss * tokens.mask).sum(1) / tokens.mask.sum(1)
        return mean_over_facts(per_question, group, weight)


def normalized(
    reward: Float[Tensor, " b"], group: Int[Tensor, " b"], weight: Weight = None
) -> Float[Tensor, " b"]:
    """Return the reward minus its mean, over its standard deviation (n − 1), within each fact."""
    deviation = reward - group_mean(reward, group, weight)
    n = group_sum(torch.ones_like(reward), group)
    variance = group_mean(deviation.square(), group, weight) * n / (n - 1).clamp(min=1)
    return deviation / (variance.sqrt() + _STD_FLOOR)
