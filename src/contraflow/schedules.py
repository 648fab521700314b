"""Numbers that change with the optimizer step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LinearSchedule:
    """start → end over horizon steps, then end. A horizon of 0 is end from the first step."""

    start: float
    end: float
    horizon: int

    def __call__(self, step: int) -> float:
        """Value at an optimizer step, counted from 0."""
        if self.horizon <= 0 or step >= self.horizon:
            return self.end
        return self.start + (self.end - self.start) * step / self.horizon


@dataclass(frozen=True)
class WarmupCosine:
    """Share of the full learning rate: up in a line over ``warmup_steps``, then a half cosine to ``final_share``."""

    warmup_steps: int
    final_share: float
    n_steps: int

    def __call__(self, step: int) -> float:
        """Share at an optimizer step, counted from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        done = min(1.0, step / max(1, self.n_steps))
        return warm * (self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * done)))
