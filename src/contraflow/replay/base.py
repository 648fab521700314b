"""What every replay store promises, and the settings they share.

A store keeps, for each fact, the few best questions ever scored for it. The *priority* of an entry
is its untempered composite log-reward, computed by the caller and the same in every phase of a
reward schedule; the entry itself holds the raw parts. So rewards of different phases or
temperatures never meet on one scale.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from contraflow.errors import UserError
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion

SEEDED = "seeded"  # the sampler of entries that a person put in; resuming a run keeps them


def check_namespace(namespace: str) -> str:
    """Return the namespace. Raises: UserError when it cannot be part of a server's keys.

    The namespace becomes part of a Redis key: braces in it would move the cluster hash tag.
    """
    if not is_namespace(namespace):
        raise UserError(f"replay.namespace={namespace!r}: use 1 to 128 letters, digits, or any of . _ -")
    return namespace


def is_namespace(name: str) -> bool:
    """Whether a name can stand in the keys of a server."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,128}", name) is not None


def make_namespace(*, prompt: str, tokenizer: str, oracle: str, judge: str) -> str:
    """A name that changes whenever a stored token id or reward part would mean something else."""
    identity = {"prompt": prompt, "tokenizer": tokenizer, "oracle": oracle, "judge": judge}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Stored:
    """One entry with its place in the order."""

    priority: float
    entry_id: str
    entry: ScoredQuestion
    vector: bytes = b""  # see `vectors.quantize`; empty where near-duplicates are told by tokens

    @property
    def order(self) -> tuple[float, str]:
        """Best first; ids break ties, so that every process and store sees one order."""
        return (-self.priority, self.entry_id)


def vectors_for(
    entries: Sequence[ScoredQuestion], settings: ReplayConfig, embed: Embed | None
) -> list[bytes]:
    """What the entries are compared by besides their tokens: one sentence vector each, or nothing.

    Raises `ValueError` where vectors are asked for and there is nothing that makes them.
    """
    if settings.near_duplicate_by == "tokens":
        return [b""] * len(entries)
    if embed is None:
        raise ValueError(
            "near_duplicate_by='embedding' needs an encoder: pass embed=… when opening the store"
        )
    return embed([entry.question for entry in entries]) if entries else []


class ReplayStore(Protocol):
    """Where scored questions wait to be learned from again. Subclass it: the context manager comes
    with it.
    """

    def add(self, entries: Sequence[ScoredQuestion], priorities: Sequence[float]) -> int:
        """Admit each question on its own merit, in order, and return how many entered.

        A question enters if its fact has room or it beats the fact's worst, and it must beat every
        stored question that is nearly the same, which it then replaces. After a write that was sent
        twice (a lost connection) the content is right and the count may be too low. Raises
        `ValueError` before anything is stored if the lengths differ or a number is not finite.
        """

    def sample(
        self, fact_ids: Sequence[str], n: int, rng: random.Random
    ) -> list[list[ScoredQuestion]]:
        """For each fact up to n entries, none twice in one call even if a fact is named twice.

        ``rng`` is the caller's and advances by one draw per distinct fact, whatever is stored.
        """

    def size(self, fact_id: str | None = None) -> int:
        """Entries of one fact, or of all."""

    def entries(self) -> Iterator[Stored]:
        """All that is stored and can be read, fact by fact, best first."""

    def snapshot(self) -> bytes:
        """The whole content as typed bytes; equal contents give equal bytes in every store."""

    def restore(self, data: bytes) -> None:
        """Replace the content of this namespace by a snapshot.

        Raises `contraflow.replay.codec.PayloadError` for bytes that are no snapshot of this version, and
        `UserError` for a snapshot of another namespace; the content is untouched then.
        """

    def resume(self, data: bytes) -> None:
        """Go on from the snapshot of a run's checkpoint. Raises as `restore` does.

        A store that the run has to itself is as it was then, but for what a person seeded since. A
        shared store keeps what others wrote and gets back what it lacks.
        """
        self.restore(data)

    def stats(self) -> dict[str, Any]:
        """Size, facts, and what this client offered, admitted, skipped and was refused since it
        opened.
        """

    def clear(self) -> None:
        """Forget every entry of this namespace, and no other."""

    def close(self) -> None:
        """Let go of what is held open. The second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
