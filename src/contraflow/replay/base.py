"""The interface of every replay store, and what the stores share.

A store keeps, for each fact, the few best questions ever scored for it. The *priority* of an entry
is its untempered composite log-reward. The caller computes it by the same formula in every phase of
a reward schedule, and the entry itself holds the raw reward parts. Rewards of different phases or
temperatures are therefore never compared with each other.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from contraflow.errors import UserError
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion

# `ScoredQuestion.sampler` of questions that a user put in; resuming a run keeps them.
SEEDED = "seeded"


def check_namespace(namespace: str) -> str:
    """Return the namespace. Raises: UserError when it cannot be part of a server's keys.

    The namespace becomes part of a Redis key: braces in it would move the cluster hash tag.
    """
    if not is_namespace(namespace):
        raise UserError(
            f"replay.namespace={namespace!r}: use 1 to 128 letters, digits, or any of . _ -"
        )
    return namespace


def is_namespace(name: str) -> bool:
    """Whether a name can be part of a server's keys."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,128}", name) is not None


def make_namespace(*, prompt: str, tokenizer: str, oracle: str, judge: str) -> str:
    """A name that changes whenever the meaning of a stored token id or reward part changes."""
    identity = {"prompt": prompt, "tokenizer": tokenizer, "oracle": oracle, "judge": judge}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]


def with_priorities(parts: str, settings: Mapping[str, float | str]) -> str:
    """The namespace of entries whose priorities follow these settings.

    ``parts`` is the `make_namespace` of their token ids and reward parts.
    """
    priorities = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return f"{parts}-{priorities}"


def scores_part(namespace: str) -> str:
    """What a namespace says of token ids and reward parts, which no priority changes.

    It is all of the namespace of an older version, which says nothing of priorities.
    """
    return namespace.partition("-")[0]


@dataclass(frozen=True)
class ReplayEntry:
    """A stored question with its priority and its id.

    ``vector`` is the quantized sentence vector (`vectors.quantize`). It is empty where
    near-duplicates are compared by tokens.
    """

    priority: float
    entry_id: str
    scored: ScoredQuestion
    vector: bytes = b""

    @property
    def sort_key(self) -> tuple[float, str]:
        """Sorts best first; ids break ties, so that every process and store has the same order."""
        return (-self.priority, self.entry_id)


def vectors_for(
    questions: Sequence[ScoredQuestion], settings: ReplayConfig, embed: Embed | None
) -> list[bytes]:
    """One sentence vector per question; empty bytes where tokens are compared instead.

    Raises `ValueError` where vectors are needed and ``embed`` is missing.
    """
    if settings.near_duplicate_by == "tokens":
        return [b""] * len(questions)
    if embed is None:
        raise ValueError(
            "near_duplicate_by='embedding' needs an encoder: pass embed=… when opening the store"
        )
    return embed([scored.question for scored in questions]) if questions else []


class ReplayStore(Protocol):
    """A store of scored questions to learn from again.

    Implementations subclass it and inherit the context manager.
    """

    def add(self, questions: Sequence[ScoredQuestion], priorities: Sequence[float]) -> int:
        """Admit each question on its own merit, in order, and return how many were admitted.

        A question is admitted if its fact has room or if it beats the fact's worst entry. It must
        also beat every stored near-duplicate, which it then replaces. After a write that was sent
        twice (a lost connection) the content is correct and the count may be too low. Raises
        `ValueError` before anything is stored if the lengths differ or a number is not finite.
        """

    def sample(
        self, facts: Sequence[str], n: int, rng: random.Random
    ) -> list[list[ScoredQuestion]]:
        """Sample up to n entries for each fact, without replacement within one call.

        ``facts`` are keys (`Fact.key`). A fact may be named several times; its lists then share no
        entry. ``rng`` is the caller's and advances by one draw per distinct fact, whatever is
        stored.
        """

    def size(self, fact: str | None = None) -> int:
        """Number of entries of one fact, given by its key, or of all facts."""

    def entries(self) -> Iterator[ReplayEntry]:
        """All stored entries that can be read, fact by fact, best first."""

    def snapshot(self) -> bytes:
        """The whole content as typed bytes; equal contents give equal bytes in every store."""

    def restore(self, data: bytes) -> None:
        """Replace the content of this namespace by a snapshot.

        Raises `contraflow.replay.codec.PayloadError` for bytes that are not a snapshot of this
        version, and `UserError` for a snapshot of another namespace. The content is then unchanged.
        """

    def resume(self, data: bytes) -> None:
        """Continue from the snapshot in a run's checkpoint. Raises the same errors as `restore`.

        A store that only this run uses returns to the snapshot and keeps what users seeded since.
        A shared store keeps what others wrote and gets back the entries that it lacks.
        """
        self.restore(data)

    def stats(self) -> dict[str, Any]:
        """Size and facts now; offered, admitted, skipped and refused since this client opened."""

    def clear(self) -> None:
        """Remove every entry of this namespace, and of no other."""

    def close(self) -> None:
        """Release connections and processes. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
