"""What every replay store promises, and the settings they share.

A store keeps, for each fact, the few best questions ever scored for it. The *priority* of an entry
is its untempered composite log-reward, computed by the caller and the same in every phase of a
reward schedule; the entry itself holds the raw parts. So rewards of different phases or
temperatures never meet on one scale.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, get_args

from contraflow.errors import UserError
from contraflow.replay.vectors import Embed
from contraflow.types import ScoredQuestion

Sampling = Literal["uniform", "rank", "reward", "newest"]
Nearness = Literal["tokens", "embedding"]
SEEDED = "seeded"  # the sampler of entries that a person put in; resuming a run keeps them


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """Shared by all stores. Raises `UserError` that names the key where a value is out of range."""

    namespace: str  # from `make_namespace`: another experiment's rewards are never mixed in
    capacity_per_fact: int = 32
    sampling: Sampling = "rank"
    sampling_temp: float = (
        1.0  # of sampling="reward", which draws in proportion to exp(priority / temp)
    )
    near_duplicate: float = 0.2  # strictly below this distance: the same question
    near_duplicate_by: Nearness = (
        "tokens"  # edit distance / longer length, or 1 - cosine of sentence vectors
    )
    patience_s: float = 120.0  # how long a server that went away is waited for

    def __post_init__(self) -> None:
        # The namespace becomes part of a Redis key: braces in it would move the cluster hash tag.
        if not is_namespace(self.namespace):
            raise UserError(
                f"replay.namespace={self.namespace!r}: use 1 to 128 letters, digits, or any of . _ -"
            )
        if self.capacity_per_fact < 1:
            raise UserError(
                f"replay.capacity_per_fact={self.capacity_per_fact}: must be at least 1"
            )
        if self.sampling not in get_args(Sampling):
            raise UserError(
                f"replay.sampling={self.sampling!r}: choose one of {', '.join(get_args(Sampling))}"
            )
        if not 0.0 < self.sampling_temp < math.inf:
            raise UserError(f"replay.sampling_temp={self.sampling_temp}: must be above 0")
        if self.near_duplicate_by not in get_args(Nearness):
            raise UserError(
                f"replay.near_duplicate_by={self.near_duplicate_by!r}: choose tokens or embedding"
            )
        if not 0.0 <= self.patience_s < math.inf:
            raise UserError(f"replay.patience_s={self.patience_s}: must be 0 or more")
        if not 0.0 <= self.near_duplicate <= 1.0:
            raise UserError(
                f"replay.near_duplicate={self.near_duplicate}: must lie between 0 and 1"
            )


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
    entries: Sequence[ScoredQuestion], settings: ReplaySettings, embed: Embed | None
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
