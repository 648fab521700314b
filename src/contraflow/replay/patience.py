"""Waiting for a server that is away: ask again, longer apart each time, and tell the person who
waits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_TELL_EVERY_S = 30.0


class Patience:
    """Asks until there is an answer, for up to ``seconds`` after the first failure.

    ``absent`` tells the failures that waiting may cure; the last of them is raised when time is up. ``revive``
    may start the server again, where it is ours to start; it is called before every further question. The pauses
    double from 0.1 s to 2 s and are jittered, so that many ranks do not come back in one instant; the jitter
    has a generator of its own.
    """

    def __init__(
        self,
        seconds: float,
        tell: Callable[[str], None],
        server: str,
        absent: Callable[[Exception], bool],
        revive: Callable[[], None],
    ) -> None:
        self._seconds, self._tell, self._server = seconds, tell, server
        self._absent, self._revive = absent, revive
        self._rng = random.Random()

    def ask(self, question: Callable[[], T]) -> T:
        """The answer to the question, which may be asked several times."""
        try:
            return question()
        except Exception as error:
            if not self._absent(error) or self._seconds <= 0:
                raise
        return self._ask_again(question)

    def _ask_again(self, question: Callable[[], T]) -> T:
        started = told = time.monotonic()
        self._tell(f"{self._server} does not answer; waiting up to {self._seconds:g} s for it")
        pause = _FIRST_PAUSE_S
        while True:
            time.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            self._revive()
            try:
                answer = question()
            except Exception as error:
                waited = time.monotonic() - started
                if not self._absent(error) or waited > self._seconds:
                    raise
                if time.monotonic() - told > _TELL_EVERY_S:
                    told = time.monotonic()
                    self._tell(
                        f"{self._server} still does not answer, {self._seconds - waited:.0f} s left"
                    )
            else:
                self._tell(
                    f"{self._server} is back after {time.monotonic() - started:.1f} s; going on"
                )
                return answer
