"""A number of the reward schedule that changes with the optimizer step."""

from __future__ import annotations

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
