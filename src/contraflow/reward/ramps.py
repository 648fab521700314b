"""Numbers of the reward schedule that change with the optimizer step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LinearSchedule:
    """Linear from start to end over horizon steps, then end; a horizon of 0 gives end at once."""

    start: float
    end: float
    horizon: int

    def __call__(self, step: int) -> float:
        """The value at an optimizer step, counted from 0."""
        if self.horizon <= 0 or step >= self.horizon:
            return self.end
        return self.start + (self.end - self.start) * step / self.horizon
