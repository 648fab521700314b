"""GFlowNet objectives: losses on the residuals of the potentials u (`potentials.py`).

Pure functions on tensors; independent of model, tokenizer and config. Shapes: b questions, about g
facts; n potentials per path. Departures from the papers:
1. Forward-looking flows (Pan et al. 2023): v_t may be a correction to the prior's log-likelihood of
   the prefix, which is known for every question. With an untrained adapter u_t is the correction.
2. SubTB weights are normalized per path, so long questions do not outweigh short ones.
3. SubTB routes the level of a fact's flows (`SubTB.route_level`): its value is the paper's, its
   gradient is not.
4. Modified SubTB also balances the questions of a fact with each other where their first closable
   prefixes differ, since below the minimum length no prefix has a reward (`ModifiedSubTB`).
5. Every loss takes another penalty than the square, and a bound beyond which residuals count
   linearly (`penalties.py`).
6. Every loss takes a weight per question, for samples that are not plain draws. A weight is the
   estimated share of the question under the distribution that the mean is over; the weights of a
   fact sum to about 1. Losses over pairs of questions use products of weights: for samples without
   replacement these are unbiased (Duffield, Lund and Thorup 2007).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.gflownet.groups import (
    centered,
    group_mean,
    group_sum,
    mean_over_facts,
    n_facts,
)
from contraflow.gflownet.penalties import SQUARE, Penalty, symmetric
from contraflow.gflownet.potentials import Potentials, potentials, prefix_potentials
from contraflow.types import LOG_ZERO

__all__ = [
    "LOG_ZERO",
    "ContrastiveTB",
    "DetailedBalance",
    "MeanOverQuestions",
    "ModifiedSubTB",
    "Objective",
    "Potentials",
    "SubTB",
    "TrajectoryBalance",
    "VarGrad",
    "centered",
    "group_mean",
    "potentials",
    "prefix_potentials",
]

Weight = Float[Tensor, " b"] | None


class Objective(Protocol):
    """A loss on potentials.

    uses_flow: it trains the flow head. needs_prefix_rewards: of `prefix_potentials`.
    needs_tokens: of `Potentials.tokens`. on_policy: it is wrong for questions that were not drawn
    from the current policy, unless their weights hold the ratio to what drew them.
    """

    uses_flow: bool
    needs_prefix_rewards: bool
    needs_tokens: bool
    on_policy: bool

    def __call__(
        self, potentials: Potentials, group: Int[Tensor, " b"], weight: Weight = None
    ) -> Float[Tensor, ""]:
        """Return the loss.

        Args:
            group: the number (0 … g−1) of each question's fact.
            weight: share of each question under its fact's distribution; None is a plain mean over
                the questions.
        """
        ...

    def terms(self, group: Int[Tensor, " b"]) -> int:
        """Return the number of terms that the loss is the mean of.

        Ranks that train on different facts weight their gradients by it.
        """
        ...


class MeanOverQuestions:
    """Base of the losses with one term per question."""

    uses_flow = False
    needs_prefix_rewards = False
    needs_tokens = False
    on_policy = False

    def terms(self, group: Int[Tensor, " b"]) -> int:
        return len(group)


@dataclass(frozen=True)
class SubTB(MeanOverQuestions):
    """Sub-trajectory balance (Madan et al. 2023), mean over paths.

    The loss of a path is Σ_{i<j} λ^{j−i} (u_j − u_i)² / Σ_{i<j} λ^{j−i}.

    ``route_level`` splits the same value per fact: L(u) = L(u with flows shifted by c) + w c²,
    where c is the shift of the fact's flows that minimizes the loss. The first term trains policy
    and flows; the second, the level of log Z(f), trains the flows only (their head and the states
    that it reads, no log P_F). Without the split, a wrong log Z raises or lowers the probability of
    all sampled questions together, which moves mass from or to the questions that were not sampled.
    (The split is to SubTB what VarGrad is to TB, but log F is still learned.) The loss is zero at
    the same solutions. The split needs squares: with another penalty or a bound the level is not
    routed.
    """

    lam: float = 1.0
    route_level: bool = True
    penalty: Penalty = SQUARE
    uses_flow = True

    def __call__(
        self, potentials: Potentials, group: Int[Tensor, " b"], weight: Weight = None
    ) -> Float[Tensor, ""]:
        pair_weight = _pair_weights(potentials, self.lam)
        if not (self.route_level and self.penalty.is_square):
            loss = _pair_loss(potentials.u, pair_weight, self.penalty)
            return mean_over_facts(loss, group, weight)
        # Only pairs (i, L + 1) depend on the level: a shift cancels between two flows.
        last_column = potentials.last[:, None, None].expand(-1, pair_weight.shape[1], 1)
        terminal_weight = pair_weight.gather(2, last_column).squeeze(2)
        shift = self._level_shift(potentials, terminal_weight, group, weight)
        is_flow = potentials.mask & (_columns(potentials.u) < potentials.last[:, None])
        shifted = potentials.u + shift.detach()[:, None] * is_flow
        loss = _pair_loss(shifted, pair_weight, self.penalty)
        level_loss = terminal_weight.sum(1) * shift.square()
        return mean_over_facts(loss, group, weight) + mean_over_facts(level_loss, group, weight)

    def _level_shift(
        self,
        potentials: Potentials,
        terminal_weight: Float[Tensor, "b n"],
        group: Tensor,
        weight: Weight,
    ) -> Float[Tensor, " b"]:
        """Least-squares shift of the flows of each question's fact, differentiable in the flows."""
        terminal = potentials.u_flow.gather(1, potentials.last[:, None])
        gap = (terminal_weight * (terminal - potentials.u_flow)).sum(1)
        mean_gap = group_mean(gap, group, weight)
        return mean_gap / group_mean(terminal_weight.sum(1), group, weight)


def _columns(u: Tensor) -> Int[Tensor, " n"]:
    return torch.arange(u.shape[1], device=u.device)


def _pair_weights(potentials: Potentials, lam: float) -> Float[Tensor, "b n n"]:
    """λ^{j−i} on the pairs i < j of each path; sums to 1 per path, to 0 if it has no pairs."""
    steps = _columns(potentials.u)
    gap = (steps[None, :] - steps[:, None]).float()
    is_pair = (gap > 0) & potentials.mask[:, :, None] & potentials.mask[:, None, :]
    # As a softmax of (j - i) log λ, no power leaves the range of floats.
    score = torch.where(is_pair, gap * math.log(lam), -torch.inf)
    weight = torch.where(is_pair, (score - score.amax((1, 2), keepdim=True)).exp(), 0.0)
    return weight / weight.sum((1, 2), keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


def _pair_loss(
    u: Float[Tensor, "b n"], weight: Float[Tensor, "b n n"], penalty: Penalty
) -> Float[Tensor, " b"]:
    """The weighted penalty of u_j − u_i over the pairs of each path."""
    return (weight * penalty(u[:, None, :] - u[:, :, None])).sum((1, 2))


@dataclass(frozen=True)
class ModifiedSubTB(MeanOverQuestions):
    """Modified SubTB (Hu et al. 2024): every prefix has a reward of its own; no flow is learned.

    At the optimum all u_t of all paths of a fact are log Z(f). The pairs make them equal within a
    path; making them equal between paths requires a common prefix that may stop. With a minimum
    length of 0 that is the root. With a larger one there is none, so a second term is added: the
    spread within a fact of each path's first closable u. At minimum length 0 that term is 0.
    """

    lam: float = 1.0
    penalty: Penalty = SQUARE
    needs_prefix_rewards = True

    def __call__(
        self, potentials: Potentials, group: Int[Tensor, " b"], weight: Weight = None
    ) -> Float[Tensor, ""]:
        loss = _pair_loss(potentials.u, _pair_weights(potentials, self.lam), self.penalty)
        first = potentials.u.gather(1, potentials.mask.int().argmax(1, keepdim=True)).squeeze(1)
        return mean_over_facts(loss, group, weight) + spread(first, group, weight, self.penalty)


@dataclass(frozen=True)
class TrajectoryBalance(MeanOverQuestions):
    """Trajectory balance (Malkin et al. 2022): (u_{L+1} − u_0)², with v_0 = log Z(f)."""

    penalty: Penalty = SQUARE
    uses_flow = True

    def __call__(
        self, potentials: Potentials, group: Int[Tensor, " b"], weight: Weight = None
    ) -> Float[Tensor, ""]:
        loss = self.penalty(potentials.terminal - potentials.u[:, 0])
        return mean_over_facts(loss, group, weight)


@dataclass(frozen=True)
class DetailedBalance(MeanOverQuestions):
    """Detailed balance (Bengio et al. 2021): Σ_t (u_{t+1} − u_t)², mean over paths."""

    penalty: Penalty = SQUARE
    uses_flow = True

    def __call__(
        self, potentials: Potentials, group: Int[Tensor, " b"], weight: Weight = None
    ) -> Float[Tensor, ""]:
        residual = potentials.u[:, 1:] - potentials.u[:, :-1]
        loss = (self.penalty(residual) * potentials.mask[:, 1:]).sum(1)
        return mean_over_facts(loss, group, weight)


@dataclass(frozen=True)
class VarGrad(MeanOverQuestions):
    """Log-partition variance (Richter et al. 2020, Zhang et al. 2023): Var(u_{L+1}) within a fact.

    Centered within each fact, not across facts, since each has its own Z. Needs no flow head. It is
    trajectory balance with the log Z(f) that minimizes it. So with another penalty the center is
    the one that minimizes that penalty; with linex (α = 1) it is the log-mean-exp of u, and the
    gradient is that of the self-normalized forward KL: weights R / P_F minus 1.
    """

    penalty: Penalty = SQUARE

    def __call__(
        self, potentials: Potentials, group: Int[Tensor, " b"], weight: Weight = None
    ) -> Float[Tensor, ""]:
        return spread(potentials.terminal, group, weight, self.penalty)


def spread(
    values: Float[Tensor, " b"], group: Int[Tensor, " b"], weight: Weight, penalty: Penalty
) -> Float[Tensor, ""]:
    """Return the mean penalty of the deviations from the fact's center.

    With weights w of sum W the square gives ½ Σ_i Σ_j w_i w_j (x_i − x_j)² = W Σ w (x − c)² per
    fact, where c is the weighted mean. Samples without replacement have uncorrelated weights, so
    its mean and that of its gradient are the variance and its gradient, without bias.
    """
    deviation = values - penalty.center(values, group, weight)
    if weight is not None:
        weight = weight * group_sum(weight, group)
    return mean_over_facts(penalty(deviation), group, weight)


@dataclass(frozen=True)
class ContrastiveTB(MeanOverQuestions):
    """Contrastive balance (da Silva et al. 2024): (u_{L+1} − u'_{L+1})².

    The mean is over all pairs of questions of the same fact. The difference of two trajectory
    balances of one fact cancels log Z(f), so no flow is learned. With the square it is VarGrad
    weighted per pair of questions instead of per question. Neither question of a pair is the later
    one, so the penalty is made even: linex with α = 1 is then the shifted cosh.
    """

    penalty: Penalty = SQUARE

    def __call__(
        self, potentials: Potentials, group: Int[Tensor, " b"], weight: Weight = None
    ) -> Float[Tensor, ""]:
        first, second = torch.triu_indices(len(group), len(group), offset=1, device=group.device)
        same_fact = group[first] == group[second]
        first, second = first[same_fact], second[same_fact]
        u = potentials.terminal
        loss = symmetric(self.penalty, u[first] - u[second])
        if weight is None:
            return loss.sum() / max(1, len(loss))
        # Of two draws with replacement, every pair comes in two orders.
        return 2 * (weight[first] * weight[second] * loss).sum() / n_facts(group)

    def terms(self, group: Int[Tensor, " b"]) -> int:
        """Return the number of pairs of questions of the same fact."""
        sizes = torch.bincount(group)
        return int((sizes * (sizes - 1) // 2).sum())
