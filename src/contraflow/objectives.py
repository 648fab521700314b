"""GFlowNet objectives: one vector u per path, and what each loss asks of it.

Pure functions on tensors; no model, tokenizer or config inside. With v_t = log F(s_t) and one terminal reward

    u_t     = v_t − Σ_{k<t} log P_F(y_{k+1} | s_k)                        t = 0 … L
    u_{L+1} = log R − Σ_{k<L} log P_F(y_{k+1} | s_k) − log P_F(stop | s_L)

balance holds exactly when u is constant along every path (states form a tree, so P_B = 1), and the residual of the
sub-path (i, j) is u_i − u_j. Departures from the papers:
1. forward-looking flows (Pan et al. 2023): v_t may be given as a correction to the prior's prefix log-likelihood,
   which every question carries for free; with an untrained adapter u_t is then just the correction;
2. SubTB weights are normalised per path, so long questions do not outweigh short ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from contraflow.types import PathLogProbs, TerminalReward, as_mask


@dataclass(frozen=True)
class Potentials:
    """u_0 … u_{L+1} of each path; entries past L + 1 are 0 and masked."""

    u: Float[Tensor, "b n"]  # n = t + 2
    mask: Bool[Tensor, "b n"]
    last: Int[Tensor, " b"]  # L + 1

    @property
    def terminal(self) -> Float[Tensor, " b"]:
        """u_{L+1} = log R − log P_F(question)."""
        return self.u.gather(1, self.last[:, None]).squeeze(1)


def potentials(
    paths: PathLogProbs, reward: TerminalReward, log_flow_prior: Float[Tensor, "b t+1"] | None = None
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
    flow = paths.log_flow.float() if log_flow_prior is None else paths.log_flow.float() + log_flow_prior
    last = paths.lengths + 1
    columns = torch.arange(t + 2, device=last.device)
    inner = torch.nn.functional.pad((flow - cumulative) * as_mask(last, t + 1), (0, 1))
    terminal = reward.log_reward.float() - paths.log_p_question.float()
    u = torch.where(columns[None, :] == last[:, None], terminal[:, None], inner)
    return Potentials(u, as_mask(last + 1, t + 2), last)


class Objective(Protocol):
    """A scalar from potentials; ``group`` says which fact each question is about."""

    uses_flow: bool

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]: ...


@dataclass(frozen=True)
class SubTB:
    """Sub-trajectory balance (Madan et al. 2023): Σ_{i<j} λ^{j−i} (u_i − u_j)² / Σ_{i<j} λ^{j−i}, mean over paths."""

    lam: float = 1.0
    uses_flow = True

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:  # noqa: ARG002
        u, n = potentials.u, potentials.u.shape[1]
        steps = torch.arange(n, device=u.device)
        gap = steps[None, :] - steps[:, None]
        weight = torch.where(gap > 0, self.lam ** gap.clamp(min=0).float(), 0.0)
        pairs = potentials.mask[:, :, None] & potentials.mask[:, None, :]
        weight = weight * pairs
        residual = u[:, :, None] - u[:, None, :]
        per_path = (weight * residual.square()).sum((1, 2)) / weight.sum((1, 2))
        return per_path.mean()


@dataclass(frozen=True)
class TrajectoryBalance:
    """Trajectory balance (Malkin et al. 2022): (u_0 − u_{L+1})², with v_0 = log Z(f)."""

    uses_flow = True

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:  # noqa: ARG002
        return (potentials.u[:, 0] - potentials.terminal).square().mean()


@dataclass(frozen=True)
class DetailedBalance:
    """Detailed balance (Bengio et al. 2021): Σ_t (u_t − u_{t+1})², mean over paths."""

    uses_flow = True

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:  # noqa: ARG002
        residual = potentials.u[:, :-1] - potentials.u[:, 1:]
        return (residual.square() * potentials.mask[:, 1:]).sum(1).mean()


@dataclass(frozen=True)
class VarGrad:
    """Log-partition variance (Richter et al. 2020, Zhang et al. 2023): variance of u_{L+1} within a fact.

    Centred within a fact, never across facts: each has its own Z. No flow head.
    """

    uses_flow = False

    def __call__(self, potentials: Potentials, group: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        u = potentials.terminal
        centred = u - group_mean(u, group)[group]
        return centred.square().mean()


def group_mean(values: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> Float[Tensor, " g"]:
    """Mean of the values of each group 0 … g−1 (0 for a group without members)."""
    n = int(group.max()) + 1
    ones = torch.zeros(n, device=values.device, dtype=values.dtype).index_add(
        0, group, torch.ones_like(values)
    )
    sums = torch.zeros(n, device=values.device, dtype=values.dtype).index_add(0, group, values)
    return sums / ones.clamp(min=1)
