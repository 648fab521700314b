"""Which of two near-duplicates every store keeps, compared by tokens or by meaning."""

from __future__ import annotations

import math
import random

import pytest

from contraflow.replay import MemoryReplay
from contraflow.replay.vectors import quantize
from contraflow.settings.running import ReplayConfig
from support.replay import OpenStore, held, question, random_batches


def test_the_better_of_two_near_duplicates_stays(open_store: OpenStore) -> None:
    store = open_store(near_duplicate=0.25)
    first = question("f", [1, 2, 3, 4, 5])
    twin = question("f", [1, 2, 3, 4, 9])  # distance 1/5 = 0.2
    other = question("f", [1, 2, 3, 8])  # to either: 2/5 = 0.4
    edge = question("f", [1, 2, 3, 7])  # to `other`: 1/4 = 0.25, not strictly below
    assert store.add([first, other, edge], [1.0, 0.0, 0.5]) == 3
    assert store.add([twin], [0.9]) == 0
    assert store.add([twin], [1.0]) == 0, "on a tie the stored one stays"
    assert store.add([twin], [1.1]) == 1
    assert held(store, "f") == {(1, 2, 3, 4, 9), (1, 2, 3, 8), (1, 2, 3, 7)}


def test_a_question_replaces_its_worse_near_duplicates(
    open_store: OpenStore,
) -> None:
    store = open_store(near_duplicate=0.3)
    left, right = question("f", [1, 2, 3, 4, 5, 0, 0]), question("f", [1, 2, 3, 4, 5, 6, 7])
    middle = question("f", [1, 2, 3, 4, 5, 6, 0])  # 1/7 from both, which are 2/7 = 0.286 apart
    far = question("f", [9, 9, 9])
    store.add([left, far], [1.0, -5.0])
    assert store.add([right], [0.5]) == 0
    apart = open_store(namespace="apart", near_duplicate=0.2)
    assert apart.add([left, right, far], [1.0, 3.0, -5.0]) == 3
    assert apart.add([middle], [2.0]) == 0, "right is better"
    assert apart.add([middle], [4.0]) == 1
    assert held(apart, "f") == {middle.question_ids, far.question_ids}


def test_the_same_question_scored_again_keeps_the_better_score(open_store: OpenStore) -> None:
    store = open_store(near_duplicate=0.0, sampling="newest")
    old, new = question("f", [1, 2], step=1), question("f", [1, 2], step=7)
    assert [store.add([old], [0.0]), store.add([old], [0.0]), store.add([new], [1.0])] == [1, 0, 1]
    assert store.sample(["f"], 5, random.Random(0)) == [[new]]


def test_random_calls_end_as_in_the_memory_store(open_store: OpenStore) -> None:
    for seed, near_duplicate in enumerate([0.0, 0.2, 0.5, 1.0]):
        options = {
            "capacity_per_fact": 6,
            "near_duplicate": near_duplicate,
        }
        name = f"fuzz-{seed}"
        store = open_store(namespace=name, **options)
        expected = MemoryReplay(name, ReplayConfig(**options))  # type: ignore[arg-type]
        store.clear()
        for entries, priorities in random_batches(seed, 8, 20):
            assert store.add(entries, priorities) == expected.add(entries, priorities)
        assert store.snapshot() == expected.snapshot()


def _pointing(*degrees: float) -> list[bytes]:
    return quantize([(math.cos(math.radians(d)), math.sin(math.radians(d))) for d in degrees])


def test_near_duplicates_can_be_found_by_meaning(open_store: OpenStore) -> None:
    """1 - cos 10° = 0.015 is near at 0.05, 1 - cos 30° = 0.134 is not; tokens do not matter."""
    directions = {"1 1?": 0.0, "2 2?": 10.0, "1 1 1?": 30.0, "3 3?": 35.0}
    embedded: list[str] = []

    def embed(texts: list[str]) -> list[bytes]:
        embedded.extend(texts)
        return _pointing(*(directions[text] for text in texts))

    store = open_store(near_duplicate_by="embedding", near_duplicate=0.05, embed=embed)
    first, twin = question("f", [1, 1]), question("f", [2, 2])
    other, better = question("f", [1, 1, 1]), question("f", [3, 3])
    assert store.add([first, other], [1.0, 0.0]) == 2
    assert store.add([twin], [0.5]) == 0
    assert store.add([twin, better], [2.0, 3.0]) == 2, "each replaces the one that it is near to"
    assert held(store, "f") == {(2, 2), (3, 3)}
    assert embedded == ["1 1?", "1 1 1?", "2 2?", "2 2?", "3 3?"]
    saved = store.snapshot()
    store.restore(saved)
    assert store.add([first], [1.5]) == 0, "vectors outlive a snapshot"
    assert store.snapshot() == saved


def test_entries_of_another_encoder_are_no_near_duplicates(open_store: OpenStore) -> None:
    namespace = "mixed"
    store = open_store(namespace=namespace)
    store.clear()
    store.add([question("f", [1, 2])], [5.0])
    saved = store.snapshot()
    by_meaning = open_store(
        namespace=namespace,
        near_duplicate_by="embedding",
        near_duplicate=1.0,
        embed=lambda texts: [b"\1"] * len(texts),
    )
    by_meaning.restore(saved)
    assert by_meaning.add([question("f", [3]), question("f", [4])], [0.0, 1.0]) == 2
    assert held(by_meaning, "f") == {(1, 2), (4,)}


def test_by_meaning_calls_end_as_in_the_memory_store(
    open_store: OpenStore,
) -> None:
    def embed(texts: list[str]) -> list[bytes]:
        rngs = [random.Random(text) for text in texts]
        rows = [[rng.gauss(0, 1) for _ in range(6)] for rng in rngs]
        return quantize([[x / math.hypot(*row) for x in row] for row in rows])

    for seed, threshold in enumerate((0.0, 0.1, 0.4, 1.0)):
        options = {
            "capacity_per_fact": 6,
            "near_duplicate_by": "embedding",
            "near_duplicate": threshold,
        }
        name = f"meaning-{seed}"
        store = open_store(namespace=name, **options, embed=embed)
        expected = MemoryReplay(name, ReplayConfig(**options), embed)  # type: ignore[arg-type]
        store.clear()
        for entries, priorities in random_batches(seed, 6, 20):
            assert store.add(entries, priorities) == expected.add(entries, priorities)
        assert store.snapshot() == expected.snapshot()


def test_what_only_vectors_can_tell_needs_what_makes_them(open_store: OpenStore) -> None:
    store = open_store(near_duplicate_by="embedding")
    with pytest.raises(ValueError, match="needs an encoder"):
        store.add([question("f", [1])], [0.0])
