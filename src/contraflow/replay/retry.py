"""Retry calls to a server that is unavailable, with growing pauses and messages to the user."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_LOG_EVERY_S = 30.0


class RetryWithBackoff:
    """Repeats a call until it succeeds, for up to ``seconds`` after the first failure.

    ``unavailable`` returns the state of the server ("does not answer") for a failure that waiting
    may cure, and None for another. The last such failure is raised when the time is up. ``restart``
    may start the server again where this process owns it; it runs before every retry. The pauses
    double from 0.1 s to 2 s and are jittered, so that many ranks do not reconnect at the same
    moment. The jitter has a random generator of its own.
    """

    def __init__(
        self,
        seconds: float,
        log: Callable[[str], None],
        server: str,
        unavailable: Callable[[Exception], str | None],
        restart: Callable[[], None],
    ) -> None:
        self._seconds = seconds
        self._log = log
        self._server = server
        self._unavailable = unavailable
        self._restart = restart
        self._rng = random.Random()

    def call(self, request: Callable[[], T]) -> T:
        """The result of the request, which may run several times."""
        try:
            return request()
        except Exception as error:
            state = self._unavailable(error)
            if state is None or self._seconds <= 0:
                raise
        return self._retry(request, state)

    def _retry(self, request: Callable[[], T], state: str) -> T:
        started = time.monotonic()
        logged = started
        self._log(f"{self._server} {state}; waiting up to {self._seconds:g} s for it")
        pause = _FIRST_PAUSE_S
        while True:
            time.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            self._restart()
            try:
                result = request()
            except Exception as error:
                waited = time.monotonic() - started
                now = self._unavailable(error)
                if now is None or waited > self._seconds:
                    raise
                if time.monotonic() - logged > _LOG_EVERY_S:
                    logged = time.monotonic()
                    left = self._seconds - waited
                    self._log(f"{self._server} still {now}, {left:.0f} s left")
            else:
                waited = time.monotonic() - started
                self._log(f"{self._server} is back after {waited:.1f} s; going on")
                return result
