"""The store that needs nothing: one process, gone with it unless a checkpoint keeps its snapshot."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from contraflow.replay.base import ReplayStore, Stored, check_namespace, vectors_for
from contraflow.replay.codec import check_batch, content_id, decode_snapshot, encode_snapshot
from contraflow.replay.selection import admit, deal
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion


class MemoryReplay(ReplayStore):
    """Entries in a dict of lists, each list best first."""

    def __init__(
        self, namespace: str, settings: ReplayConfig | None = None, embed: Embed | None = None
    ) -> None:
        self._namespace = check_namespace(namespace)
        self._settings = settings or ReplayConfig()
        self._embed = embed
        self._facts: dict[str, list[Stored]] = {}
        self._offered = 0
        self._admitted = 0

    def add(self, entries: Sequence[ScoredQuestion], priorities: Sequence[float]) -> int:
        check_batch(entries, priorities)
        admitted = 0
        vectors = vectors_for(entries, self._settings, self._embed)
        for entry, priority, vector in zip(entries, priorities, vectors, strict=True):
            fact = self._facts.setdefault(entry.fact_id, [])
            admitted += admit(
                fact, Stored(float(priority), content_id(entry), entry, vector), self._settings
            )
        self._offered += len(entries)
        self._admitted += admitted
        return admitted

    def sample(
        self, fact_ids: Sequence[str], n: int, rng: random.Random
    ) -> list[list[ScoredQuestion]]:
        return deal(fact_ids, n, rng, self._settings, lambda fact_id: self._facts.get(fact_id, []))

    def size(self, fact_id: str | None = None) -> int:
        if fact_id is not None:
            return len(self._facts.get(fact_id, []))
        return sum(map(len, self._facts.values()))

    def snapshot(self) -> bytes:
        return encode_snapshot(self._namespace, self.entries())

    def entries(self) -> Iterator[Stored]:
        return (stored for fact in self._facts.values() for stored in fact)

    def restore(self, data: bytes) -> None:
        facts: dict[str, list[Stored]] = defaultdict(list)
        for stored in decode_snapshot(data, self._namespace):
            if len(facts[stored.entry.fact_id]) < self._settings.capacity_per_fact:
                facts[stored.entry.fact_id].append(stored)
        self._facts = dict(facts)

    def stats(self) -> dict[str, Any]:
        return {
            "store": "memory",
            "namespace": self._namespace,
            "size": self.size(),
            "facts": len(self._facts),
            "offered": self._offered,
            "admitted": self._admitted,
            "skipped": 0,  # nobody else can write here
            "refused": 0,
        }

    def clear(self) -> None:
        self._facts = {}

    def close(self) -> None:
        """Nothing is held open."""
