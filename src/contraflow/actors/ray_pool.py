"""Actors as Ray processes: Ray places, names and restarts them; its object store carries versions.

A version of the adapter is safetensors bytes, put into the store once and read by an actor only if
it has another one. Work and reports are typed MessagePack.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from contraflow.actors.head import Head
from contraflow.actors.messages import Assignment, Refused
from contraflow.actors.pool import Outcome, Pool
from contraflow.actors.worker import Worker
from contraflow.distributed.messages import decode, encode
from contraflow.errors import UserError
from contraflow.settings.running import ExchangeConfig

_KEPT_VERSIONS = 2
_PING_EVERY_S = 0.5


class RayActor:
    """A process that holds a worker, which is built at its first work, also after a restart."""

    def __init__(self) -> None:
        # Ctrl-C is for the learner, which ends its actors after the step.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._worker: Worker | None = None

    def ping(self) -> None:
        """Answer as soon as the process is there."""

    def collect(self, assignment: bytes, build: list[Any], weights: list[Any]) -> bytes:
        """Do an encoded assignment with the version that ``weights[0]`` refers to.

        build: the only entry refers to what builds the worker. Ray warns of arguments of this size
            where an actor is made: they would have to outlive it, for its restarts.
        """
        work = decode(assignment, Assignment)
        try:
            if self._worker is None:
                self._worker = ray.get(build[0])()
            if self._worker.version != work.version:
                self._worker.load(work.version, ray.get(weights[0]))
            return encode(self._worker.collect(work))
        except UserError as error:
            return encode(Refused(str(error)))


class RayPool(Pool):
    """Actors of a cluster that this process has joined; they end with this process.

    Raises: UserError where Ray itself is gone; RayTaskError for an error in an actor that nobody
        has expected.
    """

    def __init__(self, exchange: ExchangeConfig, build: Callable[[], Worker]) -> None:
        self.size = exchange.actors
        options = {
            "num_cpus": exchange.actor_cpus,
            "num_gpus": exchange.actor_gpus,
            "max_restarts": -1,
            "max_task_retries": 0,  # the exchange assigns lost work again, with a newer version
        }
        remote = ray.remote(RayActor)
        self._actors: list[Any] = [
            remote.options(name=f"actor-{i}", **options).remote() for i in range(self.size)
        ]
        self._build = ray.put(build)
        self._weights: dict[int, Any] = {}
        self._at_work: dict[Any, int] = {}
        self._ended: dict[int, float] = {}  # actors that start again: when to ask them next
        self._pings: dict[Any, int] = {}
        self._head = Head(ray.get_runtime_context().gcs_address)

    def publish(self, version: int, weights: bytes) -> None:
        kept = sorted(self._weights)[1 - _KEPT_VERSIONS :]
        reference = ray.put(weights)
        self._weights = {v: self._weights[v] for v in kept} | {version: reference}

    def is_ready(self, actor: int) -> bool:
        return actor not in self._ended

    def submit(self, actor: int, assignment: Assignment) -> None:
        # In a list, a reference is passed on as it is: the actor may have what it refers to.
        weights = [self._weights[assignment.version]]
        reference = self._actors[actor].collect.remote(encode(assignment), [self._build], weights)
        self._at_work[reference] = actor

    def wait(self, timeout_s: float) -> list[Outcome]:
        self._head.check()
        try:
            self._ask_ended()
            pending = [*self._at_work, *self._pings]
            if not pending:
                time.sleep(timeout_s)
                return []
            done, _ = ray.wait(pending, num_returns=1, timeout=timeout_s)
            return [self._outcome(reference) for reference in done if not self._is_ping(reference)]
        except RayTaskError:
            raise
        except RayError as error:
            raise UserError(
                f"Ray itself has failed ({_first_line(error)}); start the same command again to go "
                "on from the last checkpoint"
            ) from error

    def close(self) -> None:
        actors, self._actors = self._actors, []
        with suppress(RayError):  # Ray itself may be gone, and the actors with it
            for actor in actors:
                ray.kill(actor)

    def _ask_ended(self) -> None:
        """Ask actors that start again whether they are there; Ray refuses until they are."""
        now = time.monotonic()
        for actor, when in self._ended.items():
            if when <= now and actor not in self._pings.values():
                self._pings[self._actors[actor].ping.remote()] = actor

    def _is_ping(self, reference: Any) -> bool:
        """Whether this is the reply to a ping; a good one makes the actor ready."""
        actor = self._pings.pop(reference, None)
        if actor is None:
            return False
        try:
            ray.get(reference)
            del self._ended[actor]
        except RayActorError as error:
            _require_restart(error)
            self._ended[actor] = time.monotonic() + _PING_EVERY_S
        return True

    def _outcome(self, reference: Any) -> Outcome:
        actor = self._at_work.pop(reference)
        try:
            return Outcome(actor, ray.get(reference))
        except RayTaskError:
            raise
        except RayActorError as error:
            _require_restart(error)
            self._ended[actor] = time.monotonic()
            return Outcome(actor, None, _first_line(error))


def _require_restart(error: RayActorError) -> None:
    """Raises: RuntimeError for an actor that could not even be made, and never will be."""
    if "creation task" in str(error):
        raise RuntimeError(str(error)) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
