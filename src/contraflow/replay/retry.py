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

    ``is_unavailable`` selects the failures that waiting may cure; the last of them is raised when
    the time is up. ``restart`` may start the server again where this process owns it; it runs
    before every retry. The pauses double from 0.1 s to 2 s and are jittered, so that many ranks do
    not reconnect at the same moment. The jitter has a random generator of its own.
    """

    def __init__(
        self,
        seconds: float,
        log: Callable[[str], None],
        server: str,
        is_unavailable: Callable[[Exception], bool],
        restart: Callable[[], None],
    ) -> None:
        self._seconds = seconds
        self._log = log
        self._server = server
        self._is_unavailable = is_unavailable
        self._restart = restart
        self._rng = random.Random()

    def call(self, request: Callable[[], T]) -> T:
        """The result of the request, which may run several times."""
        try:
            return request()
        except Exception as error:
            if not self._is_unavailable(error) or self._seconds <= 0:
                raise
        return self._retry(request)

    def _retry(self, request: Callable[[], T]) -> T:
        started = time.monotonic()
        logged = started
        self._log(f"{self._server} does not answer; waiting up to {self._seconds:g} s for it")
        pause = _FIRST_PAUSE_S
        while True:
            time.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            self._restart()
            try:
                result = request()
            except Exception as error:
                waited = time.monotonic() - started
                if not self._is_unavailable(error) or waited > self._seconds:
                    raise
                if time.monotonic() - logged > _LOG_EVERY_S:
                    logged = time.monotonic()
                    left = self._seconds - waited
                    self._log(f"{self._server} still does not answer, {left:.0f} s left")
            else:
                waited = time.monotonic() - started
                self._log(f"{self._server} is back after {waited:.1f} s; going on")
                return result
