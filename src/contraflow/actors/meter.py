"""Rates of an exchange over its last steps: questions a second, idle shares of both sides."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

WINDOW_STEPS = 10


@dataclass(frozen=True)
class Totals:
    """What has added up since the exchange was opened, in seconds and numbers."""

    seconds: float = 0.0
    actor_seconds: float = 0.0  # time that actors worked, over all of them
    waited_seconds: float = 0.0  # time that the learner waited for questions
    questions: int = 0
    learned: int = 0


@dataclass(frozen=True)
class Rates:
    """Rates between two `Totals`."""

    questions_per_second: float
    learned_per_second: float
    actors_idle: float
    learner_idle: float


class Meter:
    """Adds up the time that actors work and the learner waits.

    clock: seconds that never go back; tests pass their own.
    """

    def __init__(self, n_actors: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.n_actors = n_actors
        self.clock = clock
        self._started = self._last = clock()
        self._working = 0
        self._lock = threading.Lock()  # the exchange's thread and the learner's both add work
        self._actor_seconds = 0.0
        self._waited = 0.0
        self._questions = 0
        self._learned = 0
        self._window: deque[Totals] = deque([Totals()], maxlen=WINDOW_STEPS + 1)

    def working(self, n: int) -> None:
        """Take note that n actors work from now on."""
        with self._lock:
            self._add_work()
            self._working = n

    def _add_work(self) -> None:
        now = self.clock()
        self._actor_seconds += self._working * (now - self._last)
        self._last = now

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as the learner's waiting."""
        started = self.clock()
        try:
            yield
        finally:
            self._waited += self.clock() - started

    def scored(self, n: int) -> None:
        """Count n questions that actors have scored."""
        self._questions += n

    def learned(self, n: int) -> None:
        """Count n questions that a step learns from."""
        self._learned += n

    def totals(self) -> Totals:
        """The totals until now."""
        with self._lock:
            self._add_work()
            seconds = self._last - self._started
            worked = self._actor_seconds
        return Totals(seconds, worked, self._waited, self._questions, self._learned)

    def step(self) -> Rates:
        """End a step; returns the rates over the last `WINDOW_STEPS` steps."""
        self._window.append(self.totals())
        return self.rates(self._window[0], self._window[-1])

    def overall(self) -> Rates:
        """The rates since the exchange was opened."""
        return self.rates(Totals(), self.totals())

    def rates(self, first: Totals, last: Totals) -> Rates:
        """The rates between two totals."""
        seconds = max(1e-9, last.seconds - first.seconds)
        worked = (last.actor_seconds - first.actor_seconds) / (seconds * self.n_actors)
        waited = (last.waited_seconds - first.waited_seconds) / seconds
        return Rates(
            questions_per_second=(last.questions - first.questions) / seconds,
            learned_per_second=(last.learned - first.learned) / seconds,
            actors_idle=min(1.0, max(0.0, 1.0 - worked)),
            learner_idle=min(1.0, max(0.0, waited)),
        )
