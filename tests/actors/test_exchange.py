"""The exchange between a learner and its actors, whose work the test itself does."""

from __future__ import annotations

import queue
import threading
import time

import pytest

from contraflow.actors.exchange import MAX_DEATHS, Exchange
from contraflow.actors.ledger import Ledger
from contraflow.actors.messages import Assignment, Refused
from contraflow.actors.pool import Outcome, Pool
from contraflow.distributed.messages import encode
from contraflow.errors import UserError
from contraflow.settings.running import ExchangeConfig
from support.actors import collected

F = 2


class HandPool(Pool):
    """A pool whose outcomes the test gives."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.versions: list[int] = []
        self.submitted: queue.Queue[tuple[int, Assignment]] = queue.Queue()
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self.is_closed = False

    def publish(self, version: int, weights: bytes) -> None:  # noqa: ARG002
        self.versions.append(version)

    def is_ready(self, actor: int) -> bool:  # noqa: ARG002
        return True

    def submit(self, actor: int, assignment: Assignment) -> None:
        assert assignment.version in self.versions[-2:]
        self.submitted.put((actor, assignment))

    def wait(self, timeout_s: float) -> list[Outcome]:
        try:
            return [self.outcomes.get(timeout=timeout_s)]
        except queue.Empty:
            return []

    def close(self) -> None:
        self.is_closed = True

    def deliver(self) -> Assignment:
        """Do the next piece of work."""
        actor, assignment = self.submitted.get(timeout=5)
        self.outcomes.put(Outcome(actor, encode(collected(assignment))))
        return assignment


def opened(pool: HandPool, **settings: float) -> Exchange:
    chosen = ExchangeConfig(**{"newest_share": 1.0, "timeout_s": 10.0, **settings})
    exchange = Exchange(Ledger(chosen, F), pool, chosen)
    exchange.open(0, b"")
    return exchange


def test_a_learner_waits_for_its_questions_and_gets_them():
    pool = HandPool()
    exchange = opened(pool)
    threading.Timer(0.1, pool.deliver).start()
    groups = exchange.take(F)
    assert [g.version for g in groups] == [0, 0]
    assert exchange.meter.totals().waited_seconds > 0.05
    exchange.close()
    assert pool.is_closed


def test_new_versions_reach_new_work_only_when_they_are_published():
    pool = HandPool()
    exchange = opened(pool, publish_every=2)
    made: list[int] = []
    seen = []
    for step in range(1, 6):
        seen.append(pool.deliver().version)
        exchange.take(F)
        exchange.publish(step, lambda: made.append(1) or b"")
    exchange.close()
    assert pool.versions == [0, 1, 2] and len(made) == 2
    assert seen == sorted(seen) and seen[-1] >= 1


def test_lost_work_is_done_again_and_counted():
    pool = HandPool()
    exchange = opened(pool)
    actor, lost = pool.submitted.get(timeout=5)
    pool.outcomes.put(Outcome(actor, None, "killed"))
    assert pool.deliver().number == lost.number
    assert exchange.take(F) and exchange.counts().restarts == 1
    exchange.close()


def test_an_actor_that_never_delivers_ends_the_run_with_the_remedy():
    pool = HandPool()
    exchange = opened(pool)
    for _ in range(MAX_DEATHS):
        actor, _ = pool.submitted.get(timeout=5)
        pool.outcomes.put(Outcome(actor, None, "out of memory"))
    with pytest.raises(UserError, match=r"\(out of memory\).*lower exchange.actors"):
        exchange.take(F)
    exchange.close()


def test_an_error_that_the_user_can_mend_keeps_its_line():
    pool = HandPool()
    exchange = opened(pool)
    actor, _ = pool.submitted.get(timeout=5)
    pool.outcomes.put(Outcome(actor, encode(Refused("the server refuses the key"))))
    with pytest.raises(UserError, match=r"^the server refuses the key$"):
        exchange.take(F)
    exchange.close()


def test_an_error_of_the_pool_reaches_the_learner():
    pool = HandPool()
    exchange = opened(pool)
    pool.submitted.get(timeout=5)
    pool.outcomes.put(Outcome(7, b"no such actor"))
    with pytest.raises(KeyError):
        exchange.take(F)
    exchange.close()


def test_a_learner_does_not_wait_forever():
    exchange = opened(HandPool(), timeout_s=0.2)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"delivered for 0.2 s; .* raise exchange.timeout_s"):
        exchange.take(F)
    assert time.monotonic() - started < 5
    exchange.close()


def test_a_long_wait_is_explained_once(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr("contraflow.actors.exchange.TELL_AFTER_S", 0.05)
    monkeypatch.setattr("contraflow.actors.exchange.print_plain", said.append)
    pool = HandPool()
    waiting = opened(pool)
    threading.Timer(0.1, waiting.publish, (0, bytes)).start()  # wakes the learner, twice
    threading.Timer(0.15, waiting.publish, (0, bytes)).start()
    threading.Timer(0.2, pool.deliver).start()
    waiting.take(F)
    waiting.close()
    assert said == [
        "no questions from actors for 0.05 s: their models load, or their oracle or replay does "
        "not answer; waiting up to 10 s"
    ]


def test_closing_before_opening_does_nothing():
    chosen = ExchangeConfig()
    pool = HandPool()
    Exchange(Ledger(chosen, F), pool, chosen).close()
    assert pool.is_closed
