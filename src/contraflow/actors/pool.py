"""The interface of whatever runs the actors: Ray, or threads in a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from contraflow.actors.messages import Assignment


@dataclass(frozen=True)
class Outcome:
    """How an actor's work ended: with a reply, or with the actor itself.

    reply: an encoded `Reply`; None where the actor has ended.
    reason: why it ended, for an error; empty with a reply.
    """

    actor: int
    reply: bytes | None
    reason: str = ""


class Pool(Protocol):
    """Actors with the numbers 0 … size − 1, each with at most one assignment.

    An actor that ends is started again by the pool.
    """

    size: int

    def publish(self, version: int, weights: bytes) -> None:
        """Keep the weights of a new version for assignments to come, and those of the one before.

        The learner publishes while its exchange's thread may still assign the version before.
        """

    def is_ready(self, actor: int) -> bool:
        """Whether an actor can take work; one that has ended starts again first."""

    def submit(self, actor: int, assignment: Assignment) -> None:
        """Give a ready, idle actor an assignment, with the weights of its version."""

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes since the last call; waits for the first one, up to ``timeout_s``.

        Raises: UserError when the engine itself is gone.
        """

    def close(self) -> None:
        """End all actors. Idempotent."""
