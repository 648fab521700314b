"""Replay in the memory of one process; it outlives the process only in checkpoint snapshots."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from contraflow.replay.base import ReplayEntry, ReplayStore, check_namespace, vectors_for
from contraflow.replay.codec import check_batch, content_id, decode_snapshot, encode_snapshot
from contraflow.replay.selection import admit, draw_for_facts
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
        self._facts: dict[str, list[ReplayEntry]] = {}
        self._offered = 0
        self._admitted = 0

    def add(self, questions: Sequence[ScoredQuestion], priorities: Sequence[float]) -> int:
        check_batch(questions, priorities)
        admitted = 0
        vectors = vectors_for(questions, self._settings, self._embed)
        for scored, priority, vector in zip(questions, priorities, vectors, strict=True):
            entry = ReplayEntry(float(priority), content_id(scored), scored, vector)
            admitted += admit(self._facts.setdefault(scored.fact_key, []), entry, self._settings)
        self._offered += len(questions)
        self._admitted += admitted
        return admitted

    def sample(
        self, facts: Sequence[str], n: int, rng: random.Random
    ) -> list[list[ScoredQuestion]]:
        return draw_for_facts(facts, n, rng, self._settings, lambda fact: self._facts.get(fact, []))

    def size(self, fact: str | None = None) -> int:
        if fact is not None:
            return len(self._facts.get(fact, []))
        return sum(map(len, self._facts.values()))

    def snapshot(self) -> bytes:
        return encode_snapshot(self._namespace, self.entries())

    def entries(self) -> Iterator[ReplayEntry]:
        for entries in self._facts.values():
            yield from entries

    def restore(self, data: bytes) -> None:
        facts: dict[str, list[ReplayEntry]] = defaultdict(list)
        for entry in decode_snapshot(data, self._namespace):
            kept = facts[entry.scored.fact_key]
            if len(kept) < self._settings.capacity_per_fact:
                kept.append(entry)
        self._facts = dict(facts)

    def merge(self, data: bytes) -> None:
        """Admit the entries of a snapshot beside what is there. Raises: as `decode_snapshot`."""
        for entry in decode_snapshot(data, self._namespace):
            admit(self._facts.setdefault(entry.scored.fact_key, []), entry, self._settings)

    def stats(self) -> dict[str, Any]:
        return {
            "store": "memory",
            "namespace": self._namespace,
            "size": self.size(),
            "facts": len(self._facts),
            "offered": self._offered,
            "admitted": self._admitted,
            "skipped": 0,  # no other process can write here
            "refused": 0,
        }

    def clear(self) -> None:
        self._facts = {}

    def close(self) -> None:
        """Nothing to release."""
