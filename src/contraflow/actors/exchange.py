"""The exchange of one learner with its actors: hands out work, collects questions, keeps count.

A thread of the learner's process keeps the actors busy, also while the learner computes. Everything
that both threads touch is behind one condition variable.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from contraflow.actors.ledger import FreshGroup, Ledger
from contraflow.actors.messages import Assignment, Refused, Reply
from contraflow.actors.meter import Meter
from contraflow.actors.pool import Outcome, Pool
from contraflow.errors import UserError
from contraflow.settings.running import ExchangeConfig
from contraflow.system.progress import print_plain

# An actor that ends so often before it has delivered anything will not do better the next time.
MAX_DEATHS = 8
TELL_AFTER_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Counts:
    """What an exchange has counted, for the log of a step and for the end of a run."""

    version: int
    restarts: int
    expired: int


class Exchange:
    """Questions from actors to one learner, adapters from the learner to actors.

    Raises, from `take`: UserError where an actor, the engine or the wait cannot go on; any other
    error of the exchange's thread as it is.
    """

    def __init__(
        self, ledger: Ledger, pool: Pool, settings: ExchangeConfig, meter: Meter | None = None
    ) -> None:
        self.ledger = ledger
        self.pool = pool
        self.settings = settings
        self.meter = meter or Meter(pool.size)
        self.restarts = 0
        self._deaths: Counter[int] = Counter()  # of each actor since it last delivered
        self._at_work: dict[int, Assignment] = {}
        self._error: BaseException | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="exchange", daemon=True)

    def open(self, step: int, weights: bytes) -> None:
        """Publish the first version, of an adapter that has seen ``step`` steps; start actors."""
        self.pool.publish(self._noted(step), weights)
        self._thread.start()

    def publish(self, step: int, weights: Callable[[], bytes]) -> None:
        """Take note that ``step`` steps are done, and publish the adapter if a version is due."""
        due = step // self.settings.publish_every > self.ledger.version
        if due:
            # Before the ledger knows of it: an assignment must not name weights to come.
            self.pool.publish(step // self.settings.publish_every, weights())
        self._noted(step)

    def _noted(self, step: int) -> int:
        with self._changed:
            self.ledger.publish(step)
            self._changed.notify_all()
            return self.ledger.version

    def take(self, n: int) -> list[FreshGroup]:
        """Wait for n fresh groups and return them. Raises: see the class."""
        started = time.monotonic()
        said = False
        with self._changed, self.meter.waiting():
            while True:
                if self._error is not None:
                    raise self._error
                groups = self.ledger.take(n)
                self._changed.notify_all()
                if groups is not None:
                    return groups
                waited = time.monotonic() - started
                said = said or self._tell(waited)
                self._changed.wait(min(1.0, self._left(waited)))

    def late(self) -> list[FreshGroup]:
        """The groups that came too late since the last call, and are in replay only."""
        with self._changed:
            return self.ledger.late()

    def _tell(self, waited: float) -> bool:
        """Say once why nothing happens: actors print nothing themselves."""
        if waited < TELL_AFTER_S:
            return False
        print_plain(
            f"no questions from actors for {TELL_AFTER_S:g} s: their models load, or their oracle "
            f"or replay does not answer; waiting up to {self.settings.timeout_s:g} s"
        )
        return True

    def _left(self, waited: float) -> float:
        left = self.settings.timeout_s - waited
        if left <= 0:
            raise UserError(
                f"no actor has delivered for {self.settings.timeout_s:g} s; if they are "
                "only slow, raise exchange.timeout_s, and resume from the last checkpoint"
            )
        return left

    def counts(self) -> Counts:
        """What has been counted until now."""
        with self._changed:
            return Counts(self.ledger.version, self.restarts, self.ledger.expired)

    def close(self) -> None:
        """Stop handing out work and end the actors. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)
        self.pool.close()

    def _serve(self) -> None:
        try:
            while not self._closing:
                self._hand_out()
                outcomes = self.pool.wait(_POLL_S)
                with self._changed:
                    for outcome in outcomes:
                        self._settle(outcome)
                    if outcomes:
                        self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _hand_out(self) -> None:
        with self._changed:
            idle = [i for i in range(self.pool.size) if i not in self._at_work]
            for actor in filter(self.pool.is_ready, idle):
                if not self._closing and self.ledger.may_start():
                    assignment = self.ledger.assign()
                    self._at_work[actor] = assignment
                    self.pool.submit(actor, assignment)
            self.meter.working(len(self._at_work))

    def _settle(self, outcome: Outcome) -> None:
        assignment = self._at_work.pop(outcome.actor)
        if outcome.reply is None:
            self._restarted(outcome, assignment)
            return
        reply: Reply = msgspec.msgpack.decode(outcome.reply, type=Reply)
        if isinstance(reply, Refused):
            raise UserError(reply.message)
        self._deaths[outcome.actor] = 0
        self.meter.scored(sum(reply.batch.counts))
        self.ledger.receive(reply)

    def _restarted(self, outcome: Outcome, assignment: Assignment) -> None:
        self.restarts += 1
        self._deaths[outcome.actor] += 1
        self.ledger.give_back(assignment)
        if self._deaths[outcome.actor] >= MAX_DEATHS:
            raise UserError(
                f"actor {outcome.actor} ended {MAX_DEATHS} times before it delivered anything "
                f"({outcome.reason}); it often means that memory ran out: lower exchange.actors, "
                "and resume from the last checkpoint"
            )
