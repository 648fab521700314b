"""Paths with hand-made numbers, and every loss again as a slow loop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from contraflow.gflownet.objectives import (
    ContrastiveTB,
    DetailedBalance,
    ModifiedSubTB,
    Objective,
    SubTB,
    TrajectoryBalance,
    VarGrad,
    potentials,
)
from contraflow.types import PathLogProbs, TerminalReward

LAMBDAS = (0.1, 0.5, 0.9, 1.0, 2.0)
OBJECTIVES: list[Objective] = [
    *map(SubTB, LAMBDAS),
    SubTB(0.9, route_level=False),
    TrajectoryBalance(),
    DetailedBalance(),
    VarGrad(),
    ContrastiveTB(),
]
BOUNDED: list[Objective] = [
    SubTB(0.9, bound=2.0),
    TrajectoryBalance(2.0),
    DetailedBalance(2.0),
    VarGrad(2.0),
    ContrastiveTB(2.0),
]


def paths_of(
    log_pf: Sequence[Sequence[float]],
    log_p_stop: Sequence[float],
    log_flow: Sequence[Sequence[float]],
    width: int | None = None,
) -> PathLogProbs:
    """Pad rows on the right with zeros.

    log_pterm is -inf before the end, as it is before the minimum length.
    """
    width = width or max(map(len, log_pf))
    pad = lambda rows, n: torch.tensor([[*r, *[0.0] * (n - len(r))] for r in rows])  # noqa: E731
    lengths = torch.tensor([len(r) for r in log_pf])
    log_pterm = torch.full((len(log_pf), width + 1), -math.inf)
    log_pterm[torch.arange(len(log_pf)), lengths] = torch.tensor(log_p_stop)
    return PathLogProbs(pad(log_pf, width), log_pterm, pad(log_flow, width + 1), lengths)


def random_case(seed: int, lengths: Sequence[int]) -> tuple[PathLogProbs, TerminalReward]:
    """Return random paths of the given lengths, and a reward for each."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda n: (-3 * torch.rand(n, generator=g)).tolist()  # noqa: E731
    flows = [(4 * torch.randn(n + 1, generator=g)).tolist() for n in lengths]
    paths = paths_of([draw(n) for n in lengths], draw(len(lengths)), flows)
    return paths, TerminalReward(10 * torch.randn(len(lengths), generator=g))


def naive_u(paths: PathLogProbs, reward: TerminalReward, row: int) -> list[float]:
    """Return u_0 … u_{L+1} of one path by the definition."""
    length = int(paths.lengths[row])
    log_pf, flow = paths.log_pf[row].tolist(), paths.log_flow[row].tolist()
    u = [flow[t] - sum(log_pf[:t]) for t in range(length + 1)]
    stop = float(paths.log_pterm[row, length])
    return [*u, float(reward.log_reward[row]) - sum(log_pf[:length]) - stop]


def naive_penalty(residual: float, bound: float | None) -> float:
    """Square a residual, or follow the tangent beyond the bound."""
    if bound is None or abs(residual) <= bound:
        return residual**2
    return bound**2 + 2 * bound * (abs(residual) - bound)  # the tangent at the bound


def naive_subtb(us: list[dict[int, float]], lam: float, bound: float | None) -> float:
    """Average the SubTB loss over paths given as {place: u}.

    A path of one node has no pair and costs nothing.
    """
    losses = []
    for u in us:
        above = below = 0.0
        for i, j in itertools.combinations(sorted(u), 2):
            above += lam ** (j - i) * naive_penalty(u[i] - u[j], bound)
            below += lam ** (j - i)
        losses.append(above / below if below else 0.0)
    return sum(losses) / len(losses)


def naive_spread(ends: Sequence[float], group: Sequence[int], bound: float | None) -> float:
    """Return the mean penalty of the distance to the mean of the same fact."""
    total = 0.0
    for fact in set(group):
        own = [e for e, owner in zip(ends, group, strict=True) if owner == fact]
        total += sum(naive_penalty(e - sum(own) / len(own), bound) for e in own)
    return total / len(ends)


def naive_loss(objective: Objective, us: list[list[float]], group: Sequence[int]) -> float:
    """Compute a loss by loops over pairs, steps or facts."""
    bound = objective.bound
    if isinstance(objective, SubTB):
        return naive_subtb([dict(enumerate(u)) for u in us], objective.lam, bound)
    if isinstance(objective, TrajectoryBalance):
        return sum(naive_penalty(u[0] - u[-1], bound) for u in us) / len(us)
    if isinstance(objective, DetailedBalance):
        return sum(naive_penalty(a - b, bound) for u in us for a, b in itertools.pairwise(u)) / len(
            us
        )
    ends = [u[-1] for u in us]
    if isinstance(objective, ContrastiveTB):
        pairs = [
            (i, j) for i, j in itertools.combinations(range(len(us)), 2) if group[i] == group[j]
        ]
        return sum(naive_penalty(ends[i] - ends[j], bound) for i, j in pairs) / max(1, len(pairs))
    return naive_spread(ends, group, bound)


def naive_modified(
    objective: ModifiedSubTB, paths: PathLogProbs, log_reward: Tensor, group: Sequence[int]
) -> float:
    """Compute the modified SubTB loss by loops over the prefixes that may stop.

    u_t = log R_t − log P(stop | s_t) − Σ log P_F.
    """
    us = []
    for row, length in enumerate(paths.lengths.tolist()):
        stops, tokens = paths.log_pterm[row].tolist(), paths.log_pf[row].tolist()
        us.append(
            {
                t: float(log_reward[row, t]) - stops[t] - sum(tokens[:t])
                for t in range(length + 1)
                if math.isfinite(stops[t])
            }
        )
    firsts = [u[min(u)] for u in us]
    return naive_subtb(us, objective.lam, objective.bound) + naive_spread(
        firsts, group, objective.bound
    )


def leaves(paths: PathLogProbs) -> tuple[PathLogProbs, list[Tensor]]:
    """Return the same paths on tensors that take gradients, and those tensors."""
    parts = [x.clone().requires_grad_() for x in (paths.log_pf, paths.log_pterm, paths.log_flow)]
    return PathLogProbs(*parts, paths.lengths), parts


def gradients(
    objective: Objective,
    paths: PathLogProbs,
    reward: TerminalReward,
    group: Tensor,
    prior: Tensor | None = None,
) -> tuple[float, list[Tensor]]:
    """Return the loss, and its gradients to log P_F, log P(stop) and the flows."""
    fresh, parts = leaves(paths)
    loss = objective(potentials(fresh, reward, prior), group)
    found = torch.autograd.grad(loss, parts, allow_unused=True)
    return loss.item(), [
        torch.zeros_like(p) if g is None else g for p, g in zip(parts, found, strict=True)
    ]
