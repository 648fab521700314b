"""What every store keeps, gives back, counts and refuses, tested on each with a real server."""

from __future__ import annotations

import math
import random

import msgspec
import numpy as np
import pytest

from contraflow.errors import UserError
from contraflow.replay import MemoryReplay, PayloadError
from contraflow.replay.codec import SCHEMA_VERSION
from contraflow.settings.running import ReplayConfig
from support.replay import OpenStore, distinct, held, question, random_batches, reference


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
