"""Entries of older versions and of other reward settings become a run's own."""

from __future__ import annotations

import msgspec
import pytest

from contraflow.replay import MemoryReplay, PayloadError
from contraflow.replay.base import ReplayEntry, scores_part, with_priorities
from contraflow.replay.codec import content_id, decode_snapshot, encode_snapshot
from contraflow.replay.migrate import adopt, carry_over, with_fact_hashes
from contraflow.settings.running import ReplayConfig
from support.facts import FACTS
from support.replay import question

FACT = FACTS[0]
OF_FACT = question(FACT.fact_id, [1, 2, 3])
OF_NOBODY = question("nobody's", [1, 2, 3])


def snapshot(*entries: tuple[float, object]) -> bytes:
    return encode_snapshot("n", [ReplayEntry(p, content_id(s), s) for p, s in entries])  # type: ignore[arg-type]


def test_only_entries_without_a_hash_and_with_a_fact_get_one() -> None:
    named = msgspec.structs.replace(OF_FACT, fact_hash=FACT.content_hash)
    other = msgspec.structs.replace(OF_FACT, fact_hash="0" * 16)
    before = snapshot((-1.0, OF_FACT), (-2.0, OF_NOBODY), (-3.0, other))
    after = with_fact_hashes(before, FACTS)
    assert after == snapshot((-1.0, named), (-2.0, OF_NOBODY), (-3.0, other))
    assert with_fact_hashes(after, FACTS) is after
    assert named.fact_key == FACT.key


def test_an_entry_keeps_its_id_and_so_its_place_among_ties() -> None:
    entries = [question(FACT.fact_id, ids) for ids in ([1], [2, 2], [3, 3, 3], [4, 4, 4, 4])]
    before = snapshot(*((0.0, one) for one in entries))
    after = with_fact_hashes(before, FACTS)
    ids = [[entry.entry_id for entry in decode_snapshot(data, "n")] for data in (before, after)]
    assert ids[0] == ids[1] == sorted(ids[0])


def test_of_an_older_and_a_newer_entry_the_newer_stays() -> None:
    """An older version may have trained on, in a folder that a newer one had adopted."""
    newer = msgspec.structs.replace(OF_FACT, fact_hash=FACT.content_hash, step=9)
    after = with_fact_hashes(snapshot((-1.0, OF_FACT), (-1.0, newer)), FACTS)
    assert after == snapshot((-1.0, newer))


def test_other_bytes_are_no_snapshot() -> None:
    with pytest.raises(PayloadError):
        with_fact_hashes(b"", FACTS)


def test_a_corrected_fact_does_not_adopt_entries_of_the_wrong_one() -> None:
    store = MemoryReplay("n")
    store.restore(snapshot((-1.0, OF_FACT)))
    adopt(store, FACTS)
    corrected = msgspec.structs.replace(FACT, aliases=("somebody",))
    adopt(store, [corrected])
    assert store.size(FACT.key) == 1 and store.size(corrected.key) == 0


def test_entries_are_carried_over_with_new_priorities() -> None:
    """Of two near-duplicates the other one may be the better under the new priorities."""
    source = MemoryReplay("n-old", ReplayConfig(near_duplicate=0.0))
    target = MemoryReplay("n-new", ReplayConfig(near_duplicate=0.5))
    far, good, near = (
        question("f", ids, log_contradiction=c)
        for ids, c in (([1, 2, 3, 4], -1.0), ([9, 9, 9, 9], -2.0), ([9, 9, 9, 8], -3.0))
    )
    source.add([far, good, near], [0.0, -1.0, -2.0])
    n = carry_over(source, target, lambda some: [s.log_contradiction * -10 for s in some])
    assert n == 3 and source.size() == 3
    assert [(e.scored, e.priority) for e in target.entries()] == [(near, 30.0), (far, 10.0)]


def test_a_namespace_tells_parts_from_priorities() -> None:
    one = with_priorities("abc", {"likelihood_weight": 1.0})
    assert one != with_priorities("abc", {"likelihood_weight": 2.0})
    assert scores_part(one) == scores_part("abc") == "abc"
    # A pinned value: entries of earlier versions must be found.
    assert one == "abc-59e8b108"
