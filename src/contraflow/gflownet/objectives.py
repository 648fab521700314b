"""GFlowNet objectives: one vector u of potentials per path, and losses on its differences.

Pure functions on tensors; independent of model, tokenizer and config. Shapes: b questions of at
most t tokens, about g facts; n potentials per path. L is the length of a question. With
v_t = log F(s_t) and one terminal reward, n = t + 2 and

    u_t     = v_t − Σ_{k<t} log P_F(y_{k+1} | s_k)                        t = 0 … L
    u_{L+1} = log R − Σ_{k<L} log P_F(y_{k+1} | s_k) − log P_F(stop | s_L)

Balance holds exactly when u is constant along every path (states form a tree, so P_B = 1), and the
residual of the sub-path (i, j) is u_i − u_j. Departures from the papers:
1. Forward-looking flows (Pan et al. 2023): v_t may be a correction to the prior's log-likelihood of
   the prefix, which is known for every question. With an untrained adapter u_t is the correction.
2. SubTB weights are normalized per path, so long questions do not outweigh short ones.
3. SubTB routes the level of a fact's flows (`SubTB.route_level`): its value is the paper's, its
   gradient is not.
4. Modified SubTB also balances the questions of a fact with each other where their first closable
   prefixes differ, since below the minimum length no prefix has a reward (`ModifiedSubTB`).
5. Every loss can be bounded (`bound`): residuals beyond the bound count linearly, as in the Huber
   loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from contraflow.types import PathLogProbs, PrefixReward, TerminalReward, as_mask

# log R of a zero reward: far below any other, but its square and gradient are finite in float32.
LOG_ZERO = -1e4


@dataclass(frozen=True)
class Potentials:
    """The vector u of each path, in nats; masked entries are 0."""

    u: Float[Tensor, "b n"]
    u_flow: Float[Tensor, "b n"]  # the same values, differentiable in the flows only
    mask: Bool[Tensor, "b n"]
    last: Int[Tensor, " b"]  # index of the last potential: L + 1, or L without a terminal node

    @property
    def terminal(self) -> Float[Tensor, " b"]:
        """The last potential; u_{L+1} = log R − log P_F(question) with a terminal reward."""
        return self.u.gather(1, self.last[:, None]).squeeze(1)


def potentials(
    paths: PathLogProbs,
    reward: TerminalReward,
    log_flow_prior: Float[Tensor, "b t+1"] | None = None,
) -> Potentials:
    """Return the potentials of paths with one terminal reward each, in float32.

    Args:
        log_flow_prior: for forward-looking flows, the term that log_flow corrects; added to it.
    Raises: TypeError for a reward that is not terminal; ValueError for a shape that does not fit.
    """
    if not isinstance(reward, TerminalReward):
        raise TypeError(f"this objective needs a TerminalReward, got {type(reward).__name__}")
    b, t = paths.log_pf.shape
    if reward.log_reward.shape != (b,):
        raise ValueError(f"log_reward has shape {tuple(reward.log_reward.shape)}, expected ({b},)")
    if log_flow_prior is not None and log_flow_prior.shape != paths.log_flow.shape:
        raise ValueError(
            f"log_flow_prior has shape {tuple(log_flow_prior.shape)}, "
            f"expected {tuple(paths.log_flow.shape)}"
        )
    cumulative = _cumulative_log_pf(paths)
    flow = paths.log_flow.float()
    if log_flow_prior is not None:
        flow = flow + log_flow_prior
    last = paths.lengths + 1
    columns = torch.arange(t + 2, device=last.device)
    at_end = columns[None, :] == last[:, None]
    terminal = (_floored(reward.log_reward) - paths.log_p_question.float())[:, None]
    on_path = as_mask(last, t + 1)
    inner = functional.pad((flow - cumulative) * on_path, (0, 1))
    inner_flow = functional.pad((flow - cumulative.detach()) * on_path, (0, 1))
    return Potentials(
        u=torch.where(at_end, terminal, inner),
        u_flow=torch.where(at_end, terminal.detach(), inner_flow),
        mask=as_mask(last + 1, t + 2),
        last=last,
    )


def _cumulative_log_pf(paths: PathLogProbs) -> Float[Tensor, "b t+1"]:
    """Σ_{k<t} log P_F(y_{k+1} | s_k) for t = 0 … L, in float32."""
    b = len(paths.log_pf)
    return torch.cat([paths.log_pf.new_zeros(b, 1), paths.log_pf], 1).float().cumsum(1)


def _floored(log_reward: Tensor) -> Tensor:
    return log_reward.float().clamp(min=LOG_ZERO)


def prefix_potentials(paths: PathLogProbs, reward: PrefixReward) -> Potentials:
    """Return the potentials of paths whose prefixes each have a reward, in float32.

    Every prefix that may stop is a question s_t⊤. Its flow is known,
    F(s_t) = R(s_t⊤) / P_F(stop | s_t) (Deleu et al. 2022; Hu et al. 2024), so

        u_t = log R(s_t⊤) − log P_F(stop | s_t) − Σ_{k<t} log P_F(y_{k+1} | s_k)      t ≤ L

    wherever stop is an action, and there is no terminal node. Prefixes below the minimum length are
    masked, whatever their reward.

    Raises: TypeError for a reward that is not per prefix; ValueError for a shape that does not fit,
        or a path none of whose prefixes may stop.
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
    # −∞ is replaced before the subtraction: the gradient of a masked −∞ would be NaN.
    log_stop = paths.log_pterm.float().masked_fill(~closable, 0.0)
    log_flow = _floored(reward.log_reward) - log_stop
    u = (log_flow - _cumulative_log_pf(paths)).masked_fill(~closable, 0.0)
    return Potentials(u, u.detach(), closable, paths.lengths)


class Objective(Protocol):
    """A loss on potentials. ``group`` is the number (0 … g−1) of each question's fact."""

    uses_flow: bool
    needs_prefix_rewards: bool

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]: ...

    def terms(self, group: Int[Tensor, " b"]) -> int:
        """Return the number of terms that the loss is the mean of.

        Ranks that train on different facts weight their gradients by it.
        """
        ...


class MeanOverQuestions:
    """Base of the losses with one term per question."""

    def terms(self, group: Int[Tensor, " b"]) -> int:
        return len(group)


@dataclass(frozen=True)
class SubTB(MeanOverQuestions):
    """Sub-trajectory balance (Madan et al. 2023), mean over paths.

    The loss of a path is Σ_{i<j} λ^{j−i} (u_i − u_j)² / Σ_{i<j} λ^{j−i}.

    ``route_level`` splits the same value per fact: L(u) = L(u with flows shifted by c) + w c²,
    where c is the shift of the fact's flows that minimizes the loss. The first term trains policy
    and flows; the second, the level of log Z(f), trains the flows only. Without the split, a wrong
    log Z raises or lowers the probability of all sampled questions together, which moves mass from
    or to the questions that were not sampled. (The split is to SubTB what VarGrad is to TB, but
    log F is still learned.) The loss is zero at the same solutions.
    """

    lam: float = 1.0
    route_level: bool = True
    bound: float | None = None  # the split needs squares: a bounded loss does not route the level
    uses_flow = True
    needs_prefix_rewards = False

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        weight = _pair_weights(potentials, self.lam)
        if not self.route_level or self.bound is not None:
            return _pair_loss(potentials.u, weight, self.bound)
        # Only pairs (i, L + 1) depend on the level: a shift cancels between two flows.
        last_column = potentials.last[:, None, None].expand(-1, weight.shape[1], 1)
        terminal_weight = weight.gather(2, last_column).squeeze(2)
        shift = self._level_shift(potentials, terminal_weight, group)
        is_flow = potentials.mask & (_columns(potentials.u) < potentials.last[:, None])
        shifted = potentials.u + shift.detach()[:, None] * is_flow
        level_loss = (terminal_weight.sum(1) * shift.square()).mean()
        return _pair_loss(shifted, weight, None) + level_loss

    def _level_shift(
        self, potentials: Potentials, terminal_weight: Float[Tensor, "b n"], group: Tensor
    ) -> Float[Tensor, " b"]:
        """Least-squares shift of the flows of each question's fact, differentiable in the flows."""
        terminal = potentials.u_flow.gather(1, potentials.last[:, None])
        gap = (terminal_weight * (terminal - potentials.u_flow)).sum(1)
        return (group_mean(gap, group) / group_mean(terminal_weight.sum(1), group))[group]


def _columns(u: Tensor) -> Int[Tensor, " n"]:
    return torch.arange(u.shape[1], device=u.device)


def _pair_weights(potentials: Potentials, lam: float) -> Float[Tensor, "b n n"]:
    """λ^{j−i} on the pairs i < j of each path; sums to 1 per path, to 0 if it has no pairs."""
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
    """Return the squared residual, and beyond ``bound`` its tangent (Huber 1964, times two).

    The bound limits the influence of a single outlier on the gradient.
    """
    if bound is None:
        return residual.square()
    size = residual.abs()
    return torch.where(size <= bound, residual.square(), bound * (2 * size - bound))


@dataclass(frozen=True)
class ModifiedSubTB(MeanOverQuestions):
    """Modified SubTB (Hu et al. 2024): every prefix has a reward of its own; no flow is learned.

    At the optimum all u_t of all paths of a fact are log Z(f). The pairs make them equal within a
    path; making them equal between paths requires a common prefix that may stop. With a minimum
    length of 0 that is the root. With a larger one there is none, so a second term is added: the
    variance within a fact of each path's first closable u. At minimum length 0 that term is 0.
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
    """Log-partition variance (Richter et al. 2020, Zhang et al. 2023): Var(u_{L+1}) within a fact.

    Centered within each fact, not across facts, since each has its own Z. Needs no flow head.
    """

    bound: float | None = None
    uses_flow = False
    needs_prefix_rewards = False

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        u = potentials.terminal
        return penalty(centered(u, group), self.bound).mean()


@dataclass(frozen=True)
class ContrastiveTB:
    """Contrastive balance (da Silva et al. 2024): (u_{L+1} − u'_{L+1})².

    The mean is over all pairs of questions of the same fact. The difference of two trajectory
    balances of one fact cancels log Z(f), so no flow is learned. Without a bound it is VarGrad
    weighted per pair of questions instead of per question.
    """

    bound: float | None = None
    uses_flow = False
    needs_prefix_rewards = False

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        first, second = torch.triu_indices(len(group), len(group), offset=1, device=group.device)
        same_fact = group[first] == group[second]
        u = potentials.terminal
        residual = u[first[same_fact]] - u[second[same_fact]]
        return penalty(residual, self.bound).sum() / max(1, len(residual))

    def terms(self, group: Int[Tensor, " b"]) -> int:
        """Return the number of pairs of questions of the same fact."""
        sizes = torch.bincount(group)
        return int((sizes * (sizes - 1) // 2).sum())


def centered(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Subtract from each value the mean of its group."""
    return values - group_mean(values, group)[group]


def group_mean(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " g"]:
    """Return the mean of the values of each group 0 … g−1, 0 for a group without members."""
    zeros = torch.zeros(int(group.max()) + 1, device=values.device, dtype=values.dtype)
    sizes = zeros.index_add(0, group, torch.ones_like(values))
    sums = zeros.index_add(0, group, values)
    return sums / sizes.clamp(min=1)
