"""Bring entries of an older version, or of other reward settings, into the replay of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from contraflow.facts import Fact
from contraflow.replay.base import ReplayEntry, ReplayStore
from contraflow.replay.codec import decode_snapshot, encode_snapshot, snapshot_namespace
from contraflow.types import ScoredQuestion

_ENTRIES_PER_WRITE = 1024


def with_fact_hashes(data: bytes, facts: Iterable[Fact]) -> bytes:
    """A snapshot whose entries without a hash belong to these facts, by their fact_id.

    Older versions stored no hash. An entry of another fact_id is left as it is, and a snapshot
    without such entries is returned unchanged. Raises `PayloadError` for other bytes.
    """
    hashes = {fact.fact_id: fact.content_hash for fact in facts}
    namespace = snapshot_namespace(data)
    before = decode_snapshot(data, namespace)
    after = [_with_hash(entry, hashes) for entry in before]
    if after == before:
        return data
    # Entries without a hash come first within a fact_id: of two equal questions the newer stays.
    unique = {(entry.scored.fact_key, entry.entry_id): entry for entry in after}
    return encode_snapshot(namespace, unique.values())


def _with_hash(entry: ReplayEntry, hashes: Mapping[str, str]) -> ReplayEntry:
    scored = entry.scored
    if scored.fact_hash or scored.fact_id not in hashes:
        return entry
    return replace(entry, scored=msgspec.structs.replace(scored, fact_hash=hashes[scored.fact_id]))


def adopt(store: ReplayStore, facts: Iterable[Fact]) -> None:
    """Apply `with_fact_hashes` to a store that only this run uses."""
    data = store.snapshot()
    named = with_fact_hashes(data, facts)
    if named is not data:
        store.restore(named)


def carry_over(
    source: ReplayStore,
    target: ReplayStore,
    priority: Callable[[Sequence[ScoredQuestion]], Sequence[float]],
) -> int:
    """Offer the entries of a store to another one, under new priorities.

    The raw parts of both must mean the same (`scores_part`). Returns how many were offered.
    """
    questions = [entry.scored for entry in source.entries()]
    for start in range(0, len(questions), _ENTRIES_PER_WRITE):
        some = questions[start : start + _ENTRIES_PER_WRITE]
        target.add(some, priority(some))
    return len(questions)
