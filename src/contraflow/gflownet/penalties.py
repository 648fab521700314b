"""What a residual costs: regression losses and the divergences that they minimize.

A residual is log(backward flow / forward flow), here u_j − u_i with i < j: positive where the
policy gives too little probability. On policy, with the exact log Z, the expected gradient of a
loss of whole questions is that of a divergence (Hu et al. 2024, "Beyond squared error: exploring
loss design for enhanced training of generative flow networks", arXiv 2410.02596), here with r² as
scale: 2 KL(P_F ‖ R/Z) for the square, 2 KL(R/Z ‖ P_F) for linex with α = 1, a Hellinger distance
for linex with α = ½, and KL(R/Z ‖ P_F) + ½ χ²(P_F ‖ R/Z) for the shifted cosh. All have their zero
at the same solutions.

Departures from the paper:
1. Each penalty is scaled so that near 0 it is r², as the square is.
2. Beyond a bound each continues along its tangent, so that one question cannot overflow the loss.
3. The center of VarGrad is the log Z that minimizes the penalty (`Penalty.center`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.gflownet.groups import group_logsumexp, group_max, group_mean, group_sum

_LARGEST_EXPONENT = 20.0  # of an exponential penalty; beyond it the tangent
_BISECTIONS = 60  # of a range of at most 2e4 nats: below 1e-13


@dataclass(frozen=True)
class Penalty(ABC):
    """A convex cost of residuals with its minimum 0 at 0, and r² near it.

    ``bound``: beyond it a residual costs what the tangent at the bound says; None is no bound of
    the user's (exponential penalties always have one).
    """

    bound: float | None = None

    def __call__(self, residual: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """Return the cost of each residual, in nats²."""
        limit = self.limit
        if limit is None:
            return self._curve(residual)
        inside = residual.clamp(-limit, limit)
        return self._curve(inside) + self._slope(inside) * (residual - inside)

    def slope(self, residual: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """Return the derivative of the cost."""
        limit = self.limit
        return self._slope(residual if limit is None else residual.clamp(-limit, limit))

    def center(
        self,
        values: Float[Tensor, " b"],
        group: Int[Tensor, " b"],
        weight: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return for each question the c that minimizes its fact's (weighted) cost of values − c.

        With values log R − log P_F it is the log Z(f) at which trajectory balance with this penalty
        is smallest. Its own gradient vanishes there (envelope theorem), so it is a constant. The
        derivative of the cost is monotone in c, whose root is found by bisection in float64.
        """
        u = values.detach().double()
        w = torch.ones_like(u) if weight is None else weight.double()
        low = -group_max(-u, group)
        high = group_max(u, group)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            is_low = group_sum(w * self.slope(u - middle), group) > 0
            low = torch.where(is_low, middle, low)
            high = torch.where(is_low, high, middle)
        return ((low + high) / 2).to(values.dtype)

    @property
    def limit(self) -> float | None:
        """The residual beyond which the cost is linear."""
        return self.bound

    @property
    def is_square(self) -> bool:
        """Whether the cost is r² everywhere."""
        return False

    @abstractmethod
    def _curve(self, residual: Tensor) -> Tensor: ...

    @abstractmethod
    def _slope(self, residual: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Square(Penalty):
    """r². With a bound it is the loss of Huber (1964), times two: 2 δ |r| − δ² beyond δ."""

    def center(
        self,
        values: Float[Tensor, " b"],
        group: Int[Tensor, " b"],
        weight: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return the (weighted) mean of each question's fact; with a bound, by bisection."""
        if self.bound is None:
            return group_mean(values, group, weight)
        return super().center(values, group, weight)

    @property
    def is_square(self) -> bool:
        """Whether there is no bound."""
        return self.bound is None

    def _curve(self, residual: Tensor) -> Tensor:
        return residual.square()

    def _slope(self, residual: Tensor) -> Tensor:
        return 2 * residual


SQUARE = Square()


@dataclass(frozen=True)
class Linex(Penalty):
    """2 (e^{αr} − αr − 1) / α²: residuals above 0 cost exponentially, those below 0 linearly.

    A question that the policy misses costs more than one that it overrates (zero-avoiding).
    """

    alpha: float = 1.0

    def center(
        self,
        values: Float[Tensor, " b"],
        group: Int[Tensor, " b"],
        weight: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, " b"]:
        """Return (1/α) log mean e^{αu}, the root of mean(1 − e^{α(u − c)}).

        For α = 1 that is the Monte Carlo estimate of log Z. Residuals are then at most (log n)/α.
        """
        if self.bound is not None:
            return super().center(values, group, weight)
        w = torch.ones_like(values) if weight is None else weight
        log_sum = group_logsumexp(self.alpha * values.detach() + w.log(), group)
        return (log_sum - group_sum(w, group).log()) / self.alpha

    @property
    def limit(self) -> float:
        """The bound, or a residual whose exponential is still finite after sums and squares."""
        largest = _LARGEST_EXPONENT / self.alpha
        return largest if self.bound is None else min(self.bound, largest)

    def _curve(self, residual: Tensor) -> Tensor:
        x = self.alpha * residual
        return 2 * (x.expm1() - x) / self.alpha**2

    def _slope(self, residual: Tensor) -> Tensor:
        return 2 * (self.alpha * residual).expm1() / self.alpha


@dataclass(frozen=True)
class ShiftedCosh(Penalty):
    """e^r + e^{−r} − 2: both directions cost exponentially."""

    @property
    def limit(self) -> float:
        """The bound, or a residual whose exponential is still finite after sums and squares."""
        return _LARGEST_EXPONENT if self.bound is None else min(self.bound, _LARGEST_EXPONENT)

    def _curve(self, residual: Tensor) -> Tensor:
        return 4 * (residual / 2).sinh().square()

    def _slope(self, residual: Tensor) -> Tensor:
        return 2 * residual.sinh()


def symmetric(penalty: Penalty, residual: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """Return the mean cost of a residual and its negative, where neither end is the later one."""
    if isinstance(penalty, Linex):
        return (penalty(residual) + penalty(-residual)) / 2
    return penalty(residual)  # the others are even
