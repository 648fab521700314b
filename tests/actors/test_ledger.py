"""Versions, who may start, and which questions wait to be learned."""

from __future__ import annotations

import random

import pytest

from contraflow.actors.ledger import Ledger
from contraflow.actors.messages import Assignment
from contraflow.settings.running import ExchangeConfig
from support.actors import collected

F = 2  # facts of a batch and of an assignment


def ledger(**settings: float) -> Ledger:
    return Ledger(ExchangeConfig(**{"newest_share": 1.0, **settings}), F)


def test_a_version_comes_every_few_steps():
    book = ledger(publish_every=3)
    assert [book.publish(step) for step in range(8)] == [
        False, False, False, True, False, False, True, False,
    ]  # fmt: skip
    assert (book.version, book.assign().step) == (2, 6)


def test_a_resumed_run_goes_on_with_the_next_number():
    book = Ledger(ExchangeConfig(), F, next_number=7)
    assert book.publish(40) and book.assign() == Assignment(7, 40, 40)


def test_groups_come_one_fact_each_in_order():
    book = ledger()
    book.receive(collected(book.assign(), facts=2, n=3))
    groups = book.take(2)
    assert groups is not None
    assert [[f.fact_id for f in g.batch.facts] for g in groups] == [["0-0"], ["0-1"]]
    assert [len(g.batch.scored) for g in groups] == [3, 3] and book.questions == 6


def test_too_few_fresh_groups_are_left_where_they_are():
    book = ledger()
    book.receive(collected(book.assign()))
    assert book.take(3) is None and book.fresh_groups == 2


def test_a_report_counts_once():
    book = ledger()
    report = collected(book.assign())
    book.receive(report)
    book.receive(report)
    assert book.fresh_groups == 2


def test_work_of_an_actor_that_ended_is_assigned_again():
    book = ledger()
    first = book.assign()
    second = book.assign()
    book.publish(1)
    book.give_back(second)
    book.give_back(first)
    assert [book.assign() for _ in range(3)] == [
        Assignment(0, 1, 1),
        Assignment(1, 1, 1),
        Assignment(2, 1, 1),
    ]


def test_questions_too_many_versions_behind_are_not_fresh():
    book = ledger(max_staleness=2)
    book.receive(collected(book.assign()))
    late = book.assign()
    book.publish(2)
    assert (book.fresh_groups, book.expired) == (2, 0)
    book.publish(3)
    assert (book.fresh_groups, book.expired) == (0, 2)
    book.receive(collected(late))
    assert (book.fresh_groups, book.expired) == (0, 4)


@pytest.mark.parametrize(("staleness", "assignments"), [(0, 1), (1, 2), (4, 5)])
def test_an_actor_waits_where_its_questions_would_be_too_old(staleness: int, assignments: int):
    """A step uses one assignment and makes a version, so the n-th one is n − 1 behind."""
    book = ledger(max_staleness=staleness)
    started = 0
    while book.may_start():
        book.assign()
        started += 1
    assert started == assignments


def test_the_next_version_lets_a_waiting_actor_start():
    book = ledger(max_staleness=1)
    work = [book.assign(), book.assign()]
    assert not book.may_start()
    book.receive(collected(work[0]))
    assert not book.may_start()
    assert book.take(F) is not None
    book.publish(1)
    assert book.may_start()


def test_fewer_versions_let_more_actors_start():
    """Three steps a version and no version behind: the work of three steps may be on its way."""
    book = ledger(publish_every=3, max_staleness=0)
    for _ in range(3):
        assert book.may_start()
        book.assign()
    assert not book.may_start()
    book.publish(1)  # one step nearer to the next version, and its work not yet taken
    assert not book.may_start()


def test_an_actor_that_hangs_stops_no_other_one():
    book = ledger(max_staleness=1)
    hanging = book.assign()
    for step in range(1, 30):
        assert book.may_start()
        work = book.assign()
        book.receive(collected(work))
        assert book.take(F) is not None
        book.publish(step)
    book.receive(collected(hanging))
    assert book.expired == F


@pytest.mark.parametrize(("share", "facts"), [(0.75, 4), (0.5, 1), (0.3, 7), (1.0, 3), (0.01, 2)])
def test_the_share_of_fresh_facts_is_exact_in_the_long_run(share: float, facts: int):
    book = Ledger(ExchangeConfig(newest_share=share), facts)
    counts = [book.n_fresh(step) for step in range(1000)]
    assert sum(counts) == pytest.approx(1000 * share * facts, abs=1)
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("seed", range(30))
def test_random_actors_and_learners_never_deadlock_or_break_bounds(seed: int):
    """Actors of any speed, some of which end, against a learner of any speed."""
    rng = random.Random(seed)
    facts = rng.randint(1, 4)
    simulate(rng, facts, facts)


@pytest.mark.parametrize("seed", range(30))
def test_several_learners_may_take_twice_without_a_deadlock(seed: int):
    """A step of all learners has the facts of several assignments, and may take a second time."""
    rng = random.Random(seed)
    own = rng.randint(1, 3)
    simulate(rng, own * rng.randint(2, 4), own, takes_again=0.3)


def simulate(rng: random.Random, facts: int, of_assignment: int, takes_again: float = 0.0) -> None:
    limit = rng.randint(0, 6)
    settings = ExchangeConfig(
        newest_share=rng.choice([0.1, 0.5, 0.75, 1.0]),
        publish_every=rng.randint(1, 4),
        max_staleness=limit,
    )
    book = Ledger(settings, facts, facts_per_assignment=of_assignment)
    at_work: list[Assignment] = []
    n_actors, learner_speed, death = rng.randint(1, 9), rng.random(), rng.choice([0.0, 0.1])
    step = learned = idle = 0
    wanted: int | None = facts  # groups that the learner waits for; None while it learns
    while step < 200:
        if len(at_work) < n_actors and book.may_start():
            at_work.append(book.assign())
        if wanted is None and rng.random() < learner_speed:
            step, idle = step + 1, 0
            book.publish(step)
            wanted = book.n_fresh(step)
        elif wanted is not None and (groups := book.take(wanted)) is not None:
            assert all(book.behind(g.version) <= limit for g in groups)
            learned += len(groups)
            wanted = 1 if rng.random() < takes_again else None
        if at_work and rng.random() < 0.5:
            work = at_work.pop(rng.randrange(len(at_work)))
            if rng.random() < death:
                book.give_back(work)
            else:
                book.receive(collected(work, of_assignment))
        idle += 1
        assert idle < 5000, "nobody can go on"
    assert learned > 0


@pytest.mark.parametrize(("staleness", "assignments"), [(0, 3), (1, 6)])
def test_actors_may_work_for_all_learners_of_a_step(staleness: int, assignments: int):
    """Three learners with two facts each: a step uses three assignments of two."""
    settings = ExchangeConfig(newest_share=1.0, max_staleness=staleness)
    book = Ledger(settings, 6, facts_per_assignment=2)
    started = 0
    while book.may_start():
        book.assign()
        started += 1
    assert started == assignments


def test_a_step_that_needs_more_lets_an_actor_start():
    """No version may be behind, so only what this step itself waits for may be sampled."""
    book = ledger(max_staleness=0)
    book.receive(collected(book.assign()))
    assert book.take(F) is not None and not book.may_start()
    assert book.take(1) is None and book.may_start()
    book.receive(collected(book.assign()))
    assert book.take(1) is not None and not book.may_start()


def test_no_question_expires_where_actors_take_turns():
    """The bound is kept by waiting, not by throwing away."""
    book = ledger(max_staleness=3, newest_share=0.5)
    at_work: list[Assignment] = []
    for step in range(1, 200):
        while book.may_start():
            at_work.append(book.assign())
        while book.fresh_groups < F:
            book.receive(collected(at_work.pop(0)))
        assert book.take(book.n_fresh(step)) is not None
        while book.may_start():
            at_work.append(book.assign())
        book.publish(step)
    assert book.expired == 0
