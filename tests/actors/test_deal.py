"""A step's batch divided among several learners, fact by fact."""

from __future__ import annotations

import math
import random
from itertools import chain

import pytest

from contraflow.actors.deal import deal
from contraflow.actors.groups import merge
from contraflow.experience.collect import Batch
from contraflow.experience.density import DrawnBatch
from contraflow.facts import Fact
from support.actors import question


def fact(name: str) -> Fact:
    return Fact(fact_id=name, subject="s", edit_fact=f"s is {name}")


def fresh(name: str, n: int, first: int = 0, **changes) -> DrawnBatch:
    rows = tuple(question(fact(name), (first + i,)) for i in range(n))
    return DrawnBatch((fact(name),), rows, (1,) * n, 1.0, 0, "cpu", **changes)


def stored(name: str, n: int, first: int = 100) -> Batch:
    rows = tuple(question(fact(name), (first + i,)) for i in range(n))
    return Batch((fact(name),), rows, (1,) * n, 1.0, n, "cpu")


def facts_of(hand: list[Batch]) -> set[str]:
    return {f.fact_id for batch in hand for f in batch.facts}


def test_one_learner_gets_all_in_order():
    batches = [fresh("b", 2), fresh("a", 3), stored("b", 1)]
    assert deal(batches, 1) == [batches]


def test_a_fact_goes_to_one_learner_with_all_its_questions():
    """New questions before stored ones, as metrics expect them."""
    batches = [fresh("a", 2), fresh("b", 4), fresh("a", 2, 10), stored("b", 3), stored("c", 5)]
    hands = deal(batches, 2)
    assert sorted(map(sorted, map(facts_of, hands))) == [["a", "c"], ["b"]]
    (with_b,) = (merge(hand, "cpu") for hand in hands if "b" in facts_of(hand))
    assert with_b.n_replayed == 3
    assert [s.question_ids[0] >= 100 for s in with_b.scored] == [False] * 4 + [True] * 3


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_even_in_facts_and_leave_nothing_out(seed: int):
    rng = random.Random(seed)
    n = rng.randint(1, 5)
    names = [str(i) for i in range(rng.randint(n, 12))]
    batches = [fresh(name, rng.randint(1, 9)) for name in names]
    batches += [stored(name, rng.randint(1, 9)) for name in names if rng.random() < 0.4]
    hands = deal(batches, n)
    assert sorted(map(id, chain(*hands))) == sorted(map(id, batches))
    owners = [facts_of(hand) for hand in hands]
    assert sum(map(len, owners)) == len(names)  # none on two learners
    assert min(map(len, owners)) >= 1 and max(map(len, owners)) <= math.ceil(len(names) / n)


def test_questions_are_spread_evenly_among_learners():
    """Facts of 8, 8, 8, 2, 2, 2 questions and three learners: 10 each."""
    batches = [fresh(name, n) for name, n in zip("abcdef", (8, 2, 8, 2, 8, 2), strict=True)]
    assert [sum(len(b.scored) for b in hand) for hand in deal(batches, 3)] == [10, 10, 10]


def test_with_fewer_facts_than_learners_batches_are_parted():
    hands = deal([fresh("a", 3), stored("a", 2)], 2)
    assert [[len(batch.scored) for batch in hand] for hand in hands] == [[3], [2]]


def test_fewer_batches_than_learners_are_a_bug():
    with pytest.raises(ValueError, match="1 batches do not go round 2 learners"):
        deal([fresh("a", 3)], 2)


def test_a_learner_with_stored_questions_only_weights_them_too():
    """Its loss is then a mean over facts, as that of the others."""
    weighted = fresh("a", 2, weights=(0.75, 0.25), weighs_loss=True)
    first, second = deal([weighted, stored("b", 4)], 2)
    assert merge(second, "cpu").weights == (0.75, 0.25)
    one = merge(first, "cpu")
    assert one.weights == (0.25,) * 4 and one.weighs_loss and one.n_replayed == 4
