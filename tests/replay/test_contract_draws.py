"""How every store draws: the same entries from the same contents and the same generator."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from contraflow.settings.running import ReplayConfig
from support.replay import OpenStore, distinct, ids_of, reference


def test_nothing_is_drawn_twice_even_for_a_fact_named_twice(open_store: OpenStore) -> None:
    store = open_store()
    store.add(distinct("f", 7), [float(i) for i in range(7)])
    sampled = store.sample(["f", "none", "f", "f"], 3, random.Random(4))
    assert [len(entries) for entries in sampled] == [3, 0, 3, 1]
    assert len({entry.question_ids for entries in sampled for entry in entries}) == 7
    assert store.sample(["f"], 0, random.Random(0)) == [[]]
    assert store.sample([], 3, random.Random(0)) == []


def test_the_same_contents_and_rng_give_the_memory_stores_draw(open_store: OpenStore) -> None:
    batch = (distinct("a", 9) + distinct("b", 9), [float(i % 4) for i in range(18)])
    for sampling in ("uniform", "rank", "reward", "newest"):
        store = open_store(sampling=sampling)
        store.clear()
        store.add(*batch)
        expected = reference("m", ReplayConfig(sampling=sampling), [batch])
        rng, same_rng = random.Random(5), random.Random(5)
        for _ in range(4):
            assert store.sample(["b", "a", "c"], 4, rng) == expected.sample(
                ["b", "a", "c"], 4, same_rng
            )
        assert rng.getstate() == same_rng.getstate()


def test_the_draw_of_one_fact_does_not_depend_on_another(open_store: OpenStore) -> None:
    store = open_store()
    store.add(distinct("b", 9), [0.0] * 9)
    before = store.sample(["a", "b"], 4, random.Random(1))[1]
    store.add(distinct("a", 9), [0.0] * 9)
    assert store.sample(["a", "b"], 4, random.Random(1))[1] == before


@pytest.mark.defect(5)
def test_the_global_generators_are_left_alone(open_store: OpenStore) -> None:
    store = open_store()
    random.seed(3)
    np.random.seed(3)
    before, before_np = random.getstate(), np.random.get_state()[1].tolist()
    store.add(distinct("f", 5), [0.0] * 5)
    rng = random.Random(0)
    draws = [tuple(ids_of(store.sample(["f"], 2, rng)[0])) for _ in range(8)]
    store.restore(store.snapshot())
    assert random.getstate() == before
    assert np.random.get_state()[1].tolist() == before_np
    assert len(set(draws)) > 1, "each call draws anew"


def test_rank_sampling_follows_the_square_root_law(open_store: OpenStore) -> None:
    """With m entries the first draw is place floor(m u²), so P(place k) = sqrt((k+1)/m) -
    sqrt(k/m).

    m = 5, 800 draws: chi-square with 4 degrees of freedom exceeds 23.5 once in 10,000 seeds.
    """
    store = open_store(sampling="rank")
    entries = distinct("f", 5)
    store.add(entries, [4.0, 3.0, 2.0, 1.0, 0.0])
    rng, n, m = random.Random(11), 800, 5
    counts = Counter(store.sample(["f"], 1, rng)[0][0].question_ids for _ in range(n))
    expected = [n * (math.sqrt((k + 1) / m) - math.sqrt(k / m)) for k in range(m)]
    observed = [counts[entry.question_ids] for entry in entries]
    assert sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True)) < 23.5


@pytest.mark.parametrize("sampling", ("uniform", "rank", "reward", "newest"))
def test_no_batch_repeats_an_entry_however_it_is_drawn(
    open_store: OpenStore, sampling: str
) -> None:
    store = open_store(sampling=sampling, sampling_temp=0.01)
    store.add(distinct("f", 6) + distinct("g", 2), [10.0 * i for i in range(8)])
    for seed in range(20):
        rows = store.sample(["f", "g", "f"], 3, random.Random(seed))
        assert [len(row) for row in rows] == [3, 2, 3]
        assert len({(e.fact_id, e.question_ids) for row in rows for e in row}) == 8
