"""GFlowNet objectives: one vector u per path, and what each loss asks of it.

Pure functions on tensors; no model, tokenizer or config inside. With v_t = log F(s_t) and one
terminal reward

    u_t     = v_t − Σ_{k<t} log P_F(y_{k+1} | s_k)                        t = 0 … L
    u_{L+1} = log R − Σ_{k<L} log P_F(y_{k+1} | s_k) − log P_F(stop | s_L)

balance holds exactly when u is constant along every path (states form a tree, so P_B = 1), and the residual of the
sub-path (i, j) is u_i − u_j. Departures from the papers:
1. forward-looking flows (Pan et al. 2023): v_t may be given as a correction to the prior's prefix log-likelihood,
   which every question carries for free; with an untrained adapter u_t is then just the correction;
2. SubTB weights are normalized per path, so long questions do not outweigh short ones;
3. SubTB routes the level of a fact's flows (`SubTB.route_level`): its value is the paper's, its gradient is not;
4. modified SubTB also balances the questions of a fact with each other where their first closable prefixes differ,
   since below the minimum length no prefix has a reward (`ModifiedSubTB`);
5. every loss can be bounded (`bound`): residuals beyond it count linearly, as in Huber's loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from contraflow.types import PathLogProbs, PrefixReward, TerminalReward, as_mask

LOG_ZERO = (
    -1e4
)  # a reward of zero: far below any other, and its square and gradient are still finite in float32


@dataclass(frozen=True)
class Potentials:
    """u_0 … u_{L+1} of each path; entries past L + 1 are 0 and masked."""

    u: Float[Tensor, "b n"]  # n = t + 2
    u_flow: Float[Tensor, "b n"]  # the same numbers, with gradient into the flows alone
    mask: Bool[Tensor, "b n"]
    last: Int[Tensor, " b"]  # L + 1

    @property
    def terminal(self) -> Float[Tensor, " b"]:
        """u_{L+1} = log R − log P_F(question)."""
        return self.u.gather(1, self.last[:, None]).squeeze(1)


def potentials(
    paths: PathLogProbs,
    reward: TerminalReward,
    log_flow_prior: Float[Tensor, "b t+1"] | None = None,
) -> Potentials:
    """The vector u, in float32.

    Args:
        log_flow_prior: what a forward-looking flow is a correction to (added to log_flow), or None.
    Raises: TypeError for a reward that is not terminal; ValueError for a shape that does not fit.
    """
    if not isinstance(reward, TerminalReward):
        raise TypeError(f"this objective needs a TerminalReward, got {type(reward).__name__}")
    b, t = paths.log_pf.shape
    if reward.log_reward.shape != (b,):
        raise ValueError(f"log_reward has shape {tuple(reward.log_reward.shape)}, expected ({b},)")
    if log_flow_prior is not None and log_flow_prior.shape != paths.log_flow.shape:
        raise ValueError(
            f"log_flow_prior has shape {tuple(log_flow_prior.shape)}, expected {tuple(paths.log_flow.shape)}"
        )
    cumulative = torch.cat([paths.log_pf.new_zeros(b, 1), paths.log_pf], 1).float().cumsum(1)
    flow = (
        paths.log_flow.float()
        if log_flow_prior is None
        else paths.log_flow.float() + log_flow_prior
    )
    last = paths.lengths + 1
    columns = torch.arange(t + 2, device=last.device)
    at_end = columns[None, :] == last[:, None]
    terminal = (_floored(reward.log_reward) - paths.log_p_question.float())[:, None]
    inner, inner_flow = (
        torch.nn.functional.pad((flow - c) * as_mask(last, t + 1), (0, 1))
        for c in (cumulative, cumulative.detach())
    )
    u = torch.where(at_end, terminal, inner)
    return Potentials(
        u, torch.where(at_end, terminal.detach(), inner_flow), as_mask(last + 1, t + 2), last
    )


def _floored(log_reward: Tensor) -> Tensor:
    return log_reward.float().clamp(min=LOG_ZERO)


def prefix_potentials(paths: PathLogProbs, reward: PrefixReward) -> Potentials:
    """The vector u where every prefix that may stop is a question with a reward of its own, in
    float32.

    There the flow is known, F(s_t) = R(s_t⊤) / P_F(stop | s_t) (Deleu et al. 2022; Hu et al. 2024),
    so

        u_t = log R(s_t⊤) − log P_F(stop | s_t) − Σ_{k<t} log P_F(y_{k+1} | s_k)      where stop is an action, t ≤ L

    and there is no terminal node. Prefixes below the minimum length are masked, whatever their
    reward says.

    Raises: TypeError for a reward that is not per prefix; ValueError for a shape that does not fit, or a path none of
        whose prefixes may stop.
    """
    if not isinstance(reward, PrefixReward):
        raise TypeError(f"this objective needs a PrefixReward, got {type(reward).__name__}")
    b, t = paths.log_pf.shape
    if reward.log_reward.shape != (b, t + 1):
        raise ValueError(
            f"log_reward has shape {tuple(reward.log_reward.shape)}, expected ({b}, {t + 1})"
        )
    closable = as_mask(paths.lengths + 1, t + 1) & paths.log_pterm.isfinite()
    if not bool(closable.any(1).all()):
        raise ValueError("a path has no prefix at which stop is an action")
    cumulative = torch.cat([paths.log_pf.new_zeros(b, 1), paths.log_pf], 1).float().cumsum(1)
    # The gradient of a masked −∞ would be NaN: it is replaced before it is subtracted.
    log_stop = paths.log_pterm.float().masked_fill(~closable, 0.0)
    u = (_floored(reward.log_reward) - log_stop - cumulative).masked_fill(~closable, 0.0)
    return Potentials(u, u.detach(), closable, paths.lengths)


class Objective(Protocol):
    """A scalar from potentials; ``group`` says which fact each question is about."""

    uses_flow: bool
    needs_prefix_rewards: bool

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]: ...

    def terms(self, group: Int[Tensor, " b"]) -> int:
        """How many terms the loss is the mean of: what ranks with different facts weigh their
        gradients by.
        """
        ...


class MeanOverQuestions:
    """One term a question."""

    def terms(self, group: Int[Tensor, " b"]) -> int:
        return len(group)


@dataclass(frozen=True)
class SubTB(MeanOverQuestions):
    """Sub-trajectory balance (Madan et al. 2023): Σ_{i<j} λ^{j−i} (u_i − u_j)² / Σ_{i<j} λ^{j−i},
    mean over paths.

    With ``route_level`` the same number is split per fact, c being the shift of the fact's flows
    that makes the loss least: L(u) = L(u with flows shifted by c) + w c². The first part trains
    policy and flows; the second, the level of log Z(f), trains the flows alone. Otherwise a log Z
    that is still wrong pushes every drawn question up or down together, which moves mass to or from
    questions nobody drew. (VarGrad is to TB what this is to SubTB, but log F is still learned.)
    Zero is reached at the same solutions.
    """

    lam: float = 1.0
    route_level: bool = True
    bound: float | None = (
        None  # a bounded loss has no such split: with a bound the level is not routed
    )
    uses_flow = True
    needs_prefix_rewards = False

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        weight = _pair_weights(potentials, self.lam)
        if not self.route_level or self.bound is not None:
            return _pair_loss(potentials.u, weight, self.bound)
        terminal = weight.gather(
            2, potentials.last[:, None, None].expand(-1, weight.shape[1], 1)
        ).squeeze(2)
        level = self._level(potentials, terminal, group)
        flows = potentials.mask & (_columns(potentials.u) < potentials.last[:, None])
        shifted = potentials.u + level.detach()[:, None] * flows
        return _pair_loss(shifted, weight, None) + (terminal.sum(1) * level.square()).mean()

    def _level(
        self, potentials: Potentials, terminal: Tensor, group: Tensor
    ) -> Float[Tensor, " b"]:
        """For each question the least-squares shift of its fact's flows, differentiable in the
        flows alone.
        """
        gap = (
            terminal * (potentials.u_flow.gather(1, potentials.last[:, None]) - potentials.u_flow)
        ).sum(1)
        return (group_mean(gap, group) / group_mean(terminal.sum(1), group))[group]


def _columns(u: Tensor) -> Int[Tensor, " n"]:
    return torch.arange(u.shape[1], device=u.device)


def _pair_weights(potentials: Potentials, lam: float) -> Float[Tensor, "b n n"]:
    """λ^{j−i} on the pairs i < j of each path, summing to 1 per path (to 0 where there is no pair)."""
    steps = _columns(potentials.u)
    gap = steps[None, :] - steps[:, None]
    weight = torch.where(gap > 0, lam ** gap.clamp(min=0).float(), 0.0)
    weight = weight * (potentials.mask[:, :, None] & potentials.mask[:, None, :])
    return weight / weight.sum((1, 2), keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)


def _pair_loss(
    u: Float[Tensor, "b n"], weight: Float[Tensor, "b n n"], bound: float | None
) -> Float[Tensor, ""]:
    return (weight * penalty(u[:, :, None] - u[:, None, :], bound)).sum((1, 2)).mean()


def penalty(residual: Float[Tensor, "*s"], bound: float | None) -> Float[Tensor, "*s"]:
    """Square of a residual; beyond ``bound`` its tangent (Huber 1964, times two), so that one
    outlier cannot rule.
    """
    if bound is None:
        return residual.square()
    size = residual.abs()
    return torch.where(size <= bound, residual.square(), bound * (2 * size - bound))


@dataclass(frozen=True)
class ModifiedSubTB(MeanOverQuestions):
    """SubTB where every prefix is terminable with a reward of its own (Hu et al. 2024): no flow is
    learned.

    All u_t of all paths of a fact are log Z(f) at the optimum. Within a path the pairs say so;
    between paths it takes a common prefix that may stop. The root is one where the minimum length
    is 0, and then the second term is 0 by itself; where it is not, the variance within a fact of
    each path's first closable u takes its place.
    """

    lam: float = 1.0
    bound: float | None = None
    uses_flow = False
    needs_prefix_rewards = True

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        within = _pair_loss(potentials.u, _pair_weights(potentials, self.lam), self.bound)
        first = potentials.u.gather(1, potentials.mask.int().argmax(1, keepdim=True)).squeeze(1)
        return within + penalty(centered(first, group), self.bound).mean()


@dataclass(frozen=True)
class TrajectoryBalance(MeanOverQuestions):
    """Trajectory balance (Malkin et al. 2022): (u_0 − u_{L+1})², with v_0 = log Z(f)."""

    bound: float | None = None
    uses_flow = True
    needs_prefix_rewards = False

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:  # noqa: ARG002
        return penalty(potentials.u[:, 0] - potentials.terminal, self.bound).mean()


@dataclass(frozen=True)
class DetailedBalance(MeanOverQuestions):
    """Detailed balance (Bengio et al. 2021): Σ_t (u_t − u_{t+1})², mean over paths."""

    bound: float | None = None
    uses_flow = True
    needs_prefix_rewards = False

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:  # noqa: ARG002
        residual = potentials.u[:, :-1] - potentials.u[:, 1:]
        return (penalty(residual, self.bound) * potentials.mask[:, 1:]).sum(1).mean()


@dataclass(frozen=True)
class VarGrad(MeanOverQuestions):
    """Log-partition variance (Richter et al. 2020, Zhang et al. 2023): variance of u_{L+1} within a
    fact.

    Centered within a fact, never across facts: each has its own Z. No flow head.
    """

    bound: float | None = None
    uses_flow = False
    needs_prefix_rewards = False

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        u = potentials.terminal
        return penalty(centered(u, group), self.bound).mean()


@dataclass(frozen=True)
class ContrastiveTB:
    """Contrastive balance (da Silva et al. 2024): (u_{L+1} − u'_{L+1})², mean over the pairs of
    questions of one fact.

    Subtracting two trajectory balances of one fact cancels log Z(f), so there is none to learn.
    Unbounded it is VarGrad with every pair of questions, instead of every question, counting the
    same across facts.
    """

    bound: float | None = None
    uses_flow = False
    needs_prefix_rewards = False

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        first, second = torch.triu_indices(len(group), len(group), offset=1, device=group.device)
        together = group[first] == group[second]
        u = potentials.terminal
        residual = u[first[together]] - u[second[together]]
        return penalty(residual, self.bound).sum() / max(1, len(residual))

    def terms(self, group: Int[Tensor, " b"]) -> int:
        """One a pair of questions of one fact."""
        sizes = torch.bincount(group)
        return int((sizes * (sizes - 1) // 2).sum())


def centered(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Each value less the mean of its group."""
    return values - group_mean(values, group)[group]


def group_mean(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " g"]:
    """Mean of the values of each group 0 … g−1 (0 for a group without members)."""
    n = int(group.max()) + 1
    ones = torch.zeros(n, device=values.device, dtype=values.dtype).index_add(
        0, group, torch.ones_like(values)
    )
    sums = torch.zeros(n, device=values.device, dtype=values.dtype).index_add(0, group, values)
    return sums / ones.clamp(min=1)
