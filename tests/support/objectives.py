"""Paths with hand-made numbers, and every loss again as a slow loop."""

from __future__ import annotations

import dataclasses
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
from contraflow.gflownet.penalties import Linex, Penalty, ShiftedCosh, Square
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


def balance_losses(penalty: Penalty) -> list[Objective]:
    """Return each loss of residuals with one terminal reward, with a penalty."""
    return [
        SubTB(0.9, penalty=penalty),
        TrajectoryBalance(penalty),
        DetailedBalance(penalty),
        VarGrad(penalty),
        ContrastiveTB(penalty),
    ]


BOUNDED = balance_losses(Square(2.0))
# The bounds keep the losses of far residuals in float32's range.
PENALIZED = [
    *balance_losses(Linex(8.0)),
    *balance_losses(Linex(alpha=0.5)),
    *balance_losses(ShiftedCosh(3.0)),
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


def doubled(paths: PathLogProbs) -> PathLogProbs:
    """Return the same numbers in float64, in which loops over Python floats calculate too."""
    wide = {key: getattr(paths, key).double() for key in ("log_pf", "log_pterm", "log_flow")}
    return dataclasses.replace(paths, **wide)


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


def naive_curve(penalty: Penalty, residual: float) -> tuple[float, float]:
    """Return cost and slope of a residual by the formulas of the paper, times two."""
    if isinstance(penalty, Linex):
        a = penalty.alpha
        e = math.exp(a * residual)
        return 2 * (e - a * residual - 1) / a**2, 2 * (e - 1) / a
    if isinstance(penalty, ShiftedCosh):
        return (
            math.exp(residual) + math.exp(-residual) - 2,
            math.exp(residual) - math.exp(-residual),
        )
    return residual**2, 2 * residual


def naive_penalty(residual: float, penalty: Penalty) -> float:
    """Return the cost of a residual, which follows the tangent beyond the limit."""
    limit = math.inf if penalty.limit is None else penalty.limit
    at = max(-limit, min(limit, residual))
    cost, slope = naive_curve(penalty, at)
    return cost + slope * (residual - at)


def naive_center(values: Sequence[float], penalty: Penalty) -> float:
    """Minimize the sum of penalties by golden-section search."""
    low, high = min(values), max(values)
    ratio = (math.sqrt(5) - 1) / 2
    cost = lambda c: sum(naive_penalty(x - c, penalty) for x in values)  # noqa: E731
    for _ in range(100):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if cost(a) <= cost(b):
            high = b
        else:
            low = a
    return (low + high) / 2


def naive_subtb(us: list[dict[int, float]], lam: float, penalty: Penalty) -> float:
    """Average the SubTB loss over paths given as {place: u}.

    A path of one node has no pair and costs nothing.
    """
    losses = []
    for u in us:
        above = below = 0.0
        for i, j in itertools.combinations(sorted(u), 2):
            above += lam ** (j - i) * naive_penalty(u[j] - u[i], penalty)
            below += lam ** (j - i)
        losses.append(above / below if below else 0.0)
    return sum(losses) / len(losses)


def naive_spread(ends: Sequence[float], group: Sequence[int], penalty: Penalty) -> float:
    """Return the mean penalty of the distance to the center of the same fact.

    The loss is trajectory balance at the log Z(f) that minimizes it, which for squares is the mean.
    """
    total = 0.0
    for fact in set(group):
        own = [e for e, owner in zip(ends, group, strict=True) if owner == fact]
        center = naive_center(own, penalty)
        total += sum(naive_penalty(e - center, penalty) for e in own)
    return total / len(ends)


def naive_loss(objective: Objective, us: list[list[float]], group: Sequence[int]) -> float:
    """Compute a loss by loops over pairs, steps or facts."""
    penalty = objective.penalty
    if isinstance(objective, SubTB):
        return naive_subtb([dict(enumerate(u)) for u in us], objective.lam, penalty)
    if isinstance(objective, TrajectoryBalance):
        return sum(naive_penalty(u[-1] - u[0], penalty) for u in us) / len(us)
    if isinstance(objective, DetailedBalance):
        steps = [b - a for u in us for a, b in itertools.pairwise(u)]
        return sum(naive_penalty(step, penalty) for step in steps) / len(us)
    ends = [u[-1] for u in us]
    if isinstance(objective, ContrastiveTB):
        pairs = [
            (i, j) for i, j in itertools.combinations(range(len(us)), 2) if group[i] == group[j]
        ]
        costs = [naive_penalty(s * (ends[i] - ends[j]), penalty) for i, j in pairs for s in (1, -1)]
        return sum(costs) / max(1, len(costs))
    return naive_spread(ends, group, penalty)


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
    within = naive_subtb(us, objective.lam, objective.penalty)
    return within + naive_spread(firsts, group, objective.penalty)


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
