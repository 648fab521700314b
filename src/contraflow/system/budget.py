"""A wall-clock budget: how long one start of a run may train, for machines that are lent by the
hour.
"""

from __future__ import annotations

import re
from time import monotonic

_FORM = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_SECONDS = (86_400, 3_600, 60, 1)


def seconds_of(text: str) -> int | None:
    """Seconds in "1h30m", "45m", "2d" or "90s"; None for what is no such time, and for none at all.

    Not HH:MM:SS: YAML reads 12:30:00 as the number 45000.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    return sum(int(n or 0) * unit for n, unit in zip(match.groups(), _SECONDS, strict=True)) or None


class Budget:
    """Counts from ``started``, a moment of `time.monotonic`; without a ``max_time`` it is never
    used up.
    """

    def __init__(self, max_time: str | None = None, started: float | None = None) -> None:
        self.seconds = None if max_time is None else seconds_of(max_time)
        self.started = monotonic() if started is None else started

    @property
    def is_used_up(self) -> bool:
        return self.seconds is not None and monotonic() - self.started >= self.seconds
