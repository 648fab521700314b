"""A wall-clock budget: how long one start of a run may train, for jobs with a time limit."""

from __future__ import annotations

import re
from time import monotonic

_TIME = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_SECONDS = (86_400, 3_600, 60, 1)


def seconds_of(text: str) -> int | None:
    """Return the seconds in "1h30m", "45m", "2d" or "90s"; None if malformed, empty or zero.

    HH:MM:SS is not accepted, because YAML reads 12:30:00 as the number 45000.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    counts = [int(digits or 0) for digits in match.groups()]
    seconds = sum(count * unit for count, unit in zip(counts, _SECONDS, strict=True))
    return seconds or None


class Budget:
    """A time limit counted from `started` (seconds of `time.monotonic`); None sets no limit."""

    def __init__(self, max_time: str | None = None, started: float | None = None) -> None:
        self.seconds = None if max_time is None else seconds_of(max_time)
        self.started = monotonic() if started is None else started

    @property
    def is_used_up(self) -> bool:
        return self.seconds is not None and monotonic() - self.started >= self.seconds
