"""Paths with hand-made numbers, and every loss once more as a slow loop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from contraflow.objectives import (
    DetailedBalance,
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
]


def paths_of(
    log_pf: Sequence[Sequence[float]],
    log_p_stop: Sequence[float],
    log_flow: Sequence[Sequence[float]],
    width: int | None = None,
) -> PathLogProbs:
    """Right-padded with zeros; log_pterm is -inf before the end, as it is before the minimum length."""
    width = width or max(map(len, log_pf))
    pad = lambda rows, n: torch.tensor([[*r, *[0.0] * (n - len(r))] for r in rows])  # noqa: E731
    lengths = torch.tensor([len(r) for r in log_pf])
    log_pterm = torch.full((len(log_pf), width + 1), -math.inf)
    log_pterm[torch.arange(len(log_pf)), lengths] = torch.tensor(log_p_stop)
    return PathLogProbs(pad(log_pf, width), log_pterm, pad(log_flow, width + 1), lengths)


def random_case(seed: int, lengths: Sequence[int]) -> tuple[PathLogProbs, TerminalReward]:
    g = torch.Generator().manual_seed(seed)
    draw = lambda n: (-3 * torch.rand(n, generator=g)).tolist()  # noqa: E731
    flows = [(4 * torch.randn(n + 1, generator=g)).tolist() for n in lengths]
    paths = paths_of([draw(n) for n in lengths], draw(len(lengths)), flows)
    return paths, TerminalReward(10 * torch.randn(len(lengths), generator=g))


def naive_u(paths: PathLogProbs, reward: TerminalReward, row: int) -> list[float]:
    """u_0 … u_{L+1} of one path, straight from the definition."""
    length = int(paths.lengths[row])
    log_pf, flow = paths.log_pf[row].tolist(), paths.log_flow[row].tolist()
    u = [flow[t] - sum(log_pf[:t]) for t in range(length + 1)]
    stop = float(paths.log_pterm[row, length])
    return [*u, float(reward.log_reward[row]) - sum(log_pf[:length]) - stop]


def naive_loss(objective: Objective, us: list[list[float]], group: Sequence[int]) -> float:
    """Each loss as a loop over pairs, steps or facts."""
    if isinstance(objective, SubTB):
        losses = []
        for u in us:
            above = below = 0.0
            for i in range(len(u)):
                for j in range(i + 1, len(u)):
                    above += objective.lam ** (j - i) * (u[i] - u[j]) ** 2
                    below += objective.lam ** (j - i)
            losses.append(above / below)
        return sum(losses) / len(losses)
    if isinstance(objective, TrajectoryBalance):
        return sum((u[0] - u[-1]) ** 2 for u in us) / len(us)
    if isinstance(objective, DetailedBalance):
        return sum((a - b) ** 2 for u in us for a, b in itertools.pairwise(u)) / len(us)
    total = 0.0
    for fact in set(group):
        ends = [u[-1] for u, owner in zip(us, group, strict=True) if owner == fact]
        total += sum((e - sum(ends) / len(ends)) ** 2 for e in ends)
    return total / len(us)


def leaves(paths: PathLogProbs) -> tuple[PathLogProbs, list[Tensor]]:
    """The same paths on tensors that take gradients."""
    parts = [x.clone().requires_grad_() for x in (paths.log_pf, paths.log_pterm, paths.log_flow)]
    return PathLogProbs(*parts, paths.lengths), parts


def gradients(
    objective: Objective,
    paths: PathLogProbs,
    reward: TerminalReward,
    group: Tensor,
    prior: Tensor | None = None,
) -> tuple[float, list[Tensor]]:
    fresh, parts = leaves(paths)
    loss = objective(potentials(fresh, reward, prior), group)
    found = torch.autograd.grad(loss, parts, allow_unused=True)
    return loss.item(), [torch.zeros_like(p) if g is None else g for p, g in zip(parts, found, strict=True)]
