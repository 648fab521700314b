"""The learning rate over the steps of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupCosine:
    """Share of the full learning rate: linear over ``warmup_steps``, then a half cosine.

    It ends at ``final_share`` after ``n_steps``.
    """

    warmup_steps: int
    final_share: float
    n_steps: int

    def __call__(self, step: int) -> float:
        """Share at an optimizer step, counted from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        done = min(1.0, step / max(1, self.n_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return warm * (self.final_share + (1 - self.final_share) * cosine)
