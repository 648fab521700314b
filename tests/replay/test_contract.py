"""What holds for every store, tested on each with a real server."""

from __future__ import annotations

import math
import random
from collections import Counter

import msgspec
import numpy as np
import pytest

from contraflow.errors import UserError
from contraflow.replay import MemoryReplay, PayloadError
from contraflow.replay.codec import SCHEMA_VERSION
from contraflow.replay.vectors import quantize
from contraflow.settings.running import ReplayConfig
from support.replay import OpenStore, distinct, held, ids_of, question, random_batches, reference


def test_a_full_fact_keeps_its_best(open_store: OpenStore) -> None:
    store = open_store(capacity_per_fact=3)
    entries = distinct("f", 5)
    # In order: 1, 2 and 3 find room; 5 replaces 1; 0 is below all.
    assert store.add(entries, [1.0, 2.0, 3.0, 5.0, 0.0]) == 4
    assert held(store, "f") == {entries[i].question_ids for i in (1, 2, 3)}
    assert store.size("f") == store.size() == 3


def test_each_question_is_admitted_on_its_own_reward(
    open_store: OpenStore,
) -> None:
    store = open_store(capacity_per_fact=4)
    entries = distinct("f", 6)
    assert store.add(entries[:4], [0.0, 10.0, 10.0, 10.0]) == 4
    # 1 is far below the mean of the stored entries and of its batch, yet above the worst, 0.
    assert store.add(entries[4:], [1.0, -50.0]) == 1
    assert held(store, "f") == {entries[i].question_ids for i in (1, 2, 3, 4)}


def test_facts_do_not_compete(open_store: OpenStore) -> None:
    store = open_store(capacity_per_fact=2)
    store.add(distinct("good", 3) + distinct("bad", 3), [9.0, 8.0, 7.0, -9.0, -8.0, -7.0])
    assert (store.size("good"), store.size("bad"), store.size("unknown"), store.size()) == (
        2,
        2,
        0,
        4,
    )
    assert held(store, "bad") == {entry.question_ids for entry in distinct("bad", 3)[1:]}


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


def test_what_comes_back_is_what_was_stored(open_store: OpenStore) -> None:
    store = open_store()
    entry = replace_fact(
        question("f", [0, 49151, 7], step=12, log_contradiction=-0.1 - 1e-15), "Ω {x} a\nb"
    )
    store.add([entry], [-31.123456789012345])
    assert store.sample([entry.fact_id], 1, random.Random(0)) == [[entry]]


def test_facts_of_two_files_with_one_fact_id_share_nothing(open_store: OpenStore) -> None:
    store = open_store()
    mine, theirs = (
        msgspec.structs.replace(question("1", [3, 4]), fact_hash=digit * 16) for digit in "ab"
    )
    store.add([mine], [0.0])
    assert store.add([theirs], [-5.0]) == 1, "it need not beat the question of another fact"
    sampled = store.sample([mine.fact_key, theirs.fact_key, "1"], 5, random.Random(0))
    assert sampled == [[mine], [theirs], []]
    assert (store.size(), store.size(mine.fact_key), store.size("1")) == (2, 1, 0)


def replace_fact(entry, fact_id):  # type: ignore[no-untyped-def]
    return msgspec.structs.replace(entry, fact_id=fact_id, question=f"“{fact_id}”?")


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


def test_a_snapshot_restores_everything(
    open_store: OpenStore,
) -> None:
    store = open_store()
    for batch in random_batches(1, 3, 20):
        store.add(*batch)
    saved, rng = store.snapshot(), random.Random(2)
    sampled = store.sample(["f0", "f1", "f2"], 5, rng)
    store.add(distinct("later", 4), [100.0] * 4)
    store.restore(saved)
    assert store.snapshot() == saved
    assert store.size("later") == 0
    assert store.sample(["f0", "f1", "f2"], 5, random.Random(2)) == sampled


def test_a_snapshot_fits_a_store_of_smaller_capacity(
    open_store: OpenStore,
) -> None:
    store = open_store(capacity_per_fact=2)
    entries = distinct("f", 6)
    other = reference(
        store.stats()["namespace"], ReplayConfig(), [(entries, [3.0, 1.0, 5.0, 0.0, 4.0, 2.0])]
    )
    store.restore(other.snapshot())
    assert held(store, "f") == {entries[2].question_ids, entries[4].question_ids}


def test_a_bad_snapshot_is_refused_and_changes_nothing(open_store: OpenStore) -> None:
    store = open_store()
    store.add(distinct("f", 3), [0.0] * 3)
    saved = store.snapshot()
    newer = msgspec.msgpack.encode(
        ["contraflow.replay", SCHEMA_VERSION + 1, {"namespace": "x", "entries": []}]
    )
    for data in (b"", b"junk", saved[:-1], saved + b"\0", newer):
        with pytest.raises(PayloadError):
            store.restore(data)
    foreign = MemoryReplay("somebody-else", ReplayConfig()).snapshot()
    with pytest.raises(UserError, match="somebody-else"):
        store.restore(foreign)
    assert store.snapshot() == saved


def test_namespaces_never_meet(open_store: OpenStore) -> None:
    mine, yours = open_store(namespace="mine"), open_store(namespace="yours")
    mine.clear()
    yours.clear()
    mine.add(distinct("f", 2), [0.0, 1.0])
    assert (mine.size(), yours.size(), yours.sample(["f"], 3, random.Random(0))) == (2, 0, [[]])
    yours.add(distinct("f", 3), [0.0] * 3)
    mine.clear()
    assert (mine.size(), yours.size()) == (0, 3)
    assert (mine.stats()["facts"], yours.stats()["facts"]) == (0, 1)


def test_a_number_that_is_not_finite_names_its_question(
    open_store: OpenStore,
) -> None:
    store, good = open_store(), question("f", [1])
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=r"log_contradiction is .*sick-fact.*4 2\?"):
            store.add([good, question("sick-fact", [4, 2], log_contradiction=bad)], [0.0, 0.0])
        with pytest.raises(ValueError, match=r"log_p_question is .*'f'"):
            store.add([good, msgspec.structs.replace(good, log_prior=(-1.0, bad))], [0.0, 0.0])
        with pytest.raises(ValueError, match=r"priority is .*'f'"):
            store.add([good], [bad])
    assert store.size() == 0


def test_a_batch_that_makes_no_sense_is_refused_whole(open_store: OpenStore) -> None:
    store, good = open_store(), question("f", [1])
    with pytest.raises(ValueError, match="1 questions came with 2 priorities"):
        store.add([good], [0.0, 0.0])
    with pytest.raises(TypeError, match=r"numpy\.float64"):
        store.add([good, msgspec.structs.replace(good, log_p_answer=np.float64(-1.0))], [0.0, 0.0])
    assert store.size() == 0


def test_stats_count_what_happened(open_store: OpenStore) -> None:
    store = open_store(capacity_per_fact=2)
    assert store.add([], []) == 0
    store.add(distinct("a", 3) + distinct("b", 1), [1.0, 2.0, 0.0, 0.0])
    stats = store.stats()
    counted = {name: stats[name] for name in ("size", "facts", "offered", "admitted", "skipped")}
    assert counted == {"size": 3, "facts": 2, "offered": 4, "admitted": 3, "skipped": 0}
    store.close()
    store.close()


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(UserError, match=r"replay\.namespace="):
        MemoryReplay("a{b}")
    for name, value in {
        "capacity_per_fact": 0,
        "sampling": "best",
        "near_duplicate": math.nan,
        "near_duplicate_by": "sound",
        "sampling_temp": 0.0,
        "patience_s": -1.0,
    }.items():
        with pytest.raises(UserError, match=f"replay.{name}="):
            ReplayConfig(**{name: value})  # type: ignore[arg-type]


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
