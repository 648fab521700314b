"""The facts of a step are a function of the step, so a resumed run continues exactly."""

from __future__ import annotations

from itertools import islice

import pytest

from contraflow.experience.stream import FactStream
from contraflow.facts import Fact

FACTS = [Fact(fact_id=f"f{i}", subject=f"s{i}", edit_fact=f"e{i}") for i in range(10)]


def stream(
    n_steps: int = 20, facts_per_step: int = 3, seed: int = 0, facts: list[Fact] = FACTS
) -> FactStream:
    return FactStream(facts, facts_per_step, n_steps, seed)


def test_facts_are_a_function_of_the_step():
    items = list(stream())
    assert [item.step for item in items] == list(range(20))
    for item in reversed(items):
        assert stream().at(item.step) == item


def test_an_epoch_has_each_fact_once():
    """10 facts, 5 a step: 2 steps an epoch, each fact once. 3 a step: 3 steps an epoch, 9 distinct
    facts.
    """
    even = list(stream(6, 5))
    for epoch in range(3):
        seen = [f.fact_id for item in even[2 * epoch : 2 * epoch + 2] for f in item.facts]
        assert sorted(seen) == sorted(f.fact_id for f in FACTS)
    odd = [f.fact_id for item in list(stream(3, 3)) for f in item.facts]
    assert len(set(odd)) == 9


def test_every_fact_is_seen_although_each_epoch_leaves_some_out():
    seen = {f.fact_id for item in stream(60, 3) for f in item.facts}
    assert seen == {f.fact_id for f in FACTS}


def test_epochs_and_seeds_have_orders_of_their_own():
    even = [item.facts for item in stream(4, 5)]
    assert even[:2] != even[2:]
    assert [i.facts for i in stream()] != [i.facts for i in stream(seed=1)]


def test_state_resumes_on_the_next_step():
    whole = list(stream())
    first = stream()
    begun = list(islice(first, 7))
    second = stream()
    second.load_state_dict(first.state_dict())
    assert begun + list(second) == whole


def test_state_before_the_first_step_is_the_start():
    again = stream()
    again.load_state_dict(stream().state_dict())
    assert list(again) == list(stream())


@pytest.mark.parametrize("facts_per_step", [10, 11, 500])
def test_more_facts_a_step_than_there_are_is_all_of_them(facts_per_step: int):
    for item in stream(3, facts_per_step):
        assert sorted(f.fact_id for f in item.facts) == sorted(f.fact_id for f in FACTS)


def test_length_is_the_number_of_steps():
    assert len(stream(7)) == 7 == len(list(stream(7)))


def test_a_replay_step_is_shown_facts_that_earlier_steps_had():
    """Facts of up to three earlier steps, none twice; at step 0 there are none."""
    items = list(stream(30, 3))
    assert items[0].seen == ()
    for item in items[1:]:
        earlier = {f.fact_id for before in items[: item.step] for f in before.facts}
        ids = [f.fact_id for f in item.seen]
        assert ids and len(ids) == len(set(ids)) <= 9
        assert set(ids) <= earlier
