"""A learner's batch: fresh questions first, the rest from replay, none used too often."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from contraflow.actors.exchange import Exchange
from contraflow.actors.experience import LearnerExperience
from contraflow.actors.ledger import Ledger
from contraflow.actors.messages import Collected
from contraflow.distributed.messages import decode
from contraflow.distributed.ranks import Ranks
from contraflow.errors import UserError
from contraflow.experience.density import DrawnBatch
from contraflow.replay import MemoryReplay
from contraflow.reward.schedule import RewardSchedule
from contraflow.settings.learning import ExplorationConfig
from contraflow.settings.running import ExchangeConfig, ReplayConfig
from support.facts import FACTS
from support.models import fresh_lm
from support.tables import small_experience, small_policy

F, N = 2, 3


class Setup:
    """A learner whose only actor is the test, with the learner's own policy and replay."""

    def __init__(self, **settings: float) -> None:
        chosen = ExchangeConfig(**{"newest_share": 0.5, "timeout_s": 0.3, **settings})
        self.actor = small_experience(
            small_policy(fresh_lm()), settings=ExplorationConfig(N, 0.0, use_buffer_prob=0.0)
        )
        self.exchange = Exchange(Ledger(chosen, F), _NoPool(), chosen)
        self.learner = LearnerExperience(
            self.actor.policy,
            self.actor.scorer,
            self.actor.replay,
            RewardSchedule(kind="static", question_failure_penalty=0.0),
            self.actor.settings,
            seed=0,
            exchange=self.exchange,
            facts=FACTS,
        )
        self.step = 0

    def deliver(self) -> Collected:
        """Do an assignment and report it."""
        assignment = self.exchange.ledger.assign()
        batch = DrawnBatch.of(self.actor.collect(FACTS, assignment.number))
        report = Collected(assignment, batch)
        self.exchange.ledger.receive(report)
        return report

    def learn(self):
        """Take a batch and end its step."""
        batch = self.learner.collect((), self.step)
        self.step += 1
        self.exchange.ledger.publish(self.step)
        return batch


class _NoPool:
    size = 1

    def close(self) -> None:
        """Nothing runs."""


def keys(questions) -> list[tuple[str, tuple[int, ...]]]:
    return [(s.fact_key, s.question_ids) for s in questions]


def test_the_first_batch_is_fresh_and_later_ones_are_mixed():
    setup = Setup()
    reports = [setup.deliver() for _ in range(3)]
    first = setup.learn()
    assert first.n_replayed == 0 and first.scored == reports[0].batch.scored
    second = setup.learn()
    fresh = [s for s in reports[1].batch.scored if s.fact_key == FACTS[0].key]
    assert keys(second.scored)[: len(fresh)] == keys(fresh)
    assert second.n_replayed == len(second.scored) - len(fresh) > 0
    assert not set(keys(fresh)) & set(keys(second.scored)[len(fresh) :])


def test_no_question_is_used_more_often_than_allowed():
    setup = Setup(max_reuse=2)
    used: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for _ in range(12):
        setup.deliver()
        batch = setup.learn()
        n_new = len(batch.scored) - batch.n_replayed
        new, again = keys(batch.scored)[:n_new], keys(batch.scored)[n_new:]
        used |= dict.fromkeys(new, 1)
        for key in new:
            used[key] = 1
        used.update(set(again))
        assert max(used.values()) <= 2 and setup.learner.bounds.uses <= 2
        assert setup.learner.bounds.uses == max(used[k] for k in (*new, *again))


@pytest.mark.parametrize("max_reuse", [1, 2])
def test_a_question_is_learned_from_as_often_as_its_samplings_allow(max_reuse: int):
    """Reports wait for their turn while their questions are in replay already."""
    setup = Setup(max_reuse=max_reuse)
    learned: Counter[tuple[str, tuple[int, ...]]] = Counter()
    sampled: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for _ in range(10):
        for _ in range(2):
            sampled.update(set(keys(setup.deliver().batch.scored)))
        learned.update(set(keys(setup.learn().scored)))
    assert all(n <= max_reuse * sampled[key] for key, n in learned.items())


def test_a_step_has_all_its_facts_also_where_stored_questions_are_fresh_again():
    setup = Setup(max_reuse=8)
    for step in range(12):
        setup.deliver()
        parts = setup.learner._parts(step)
        assert len(parts) == F, step
        fresh, other = (set(keys(part.scored)) for part in parts)
        assert not fresh & other
        setup.exchange.ledger.publish(step + 1)


def test_questions_that_came_too_late_are_learned_from_as_stored_ones():
    setup = Setup(max_staleness=0)
    report = setup.deliver()
    setup.exchange.ledger.publish(1)
    assert setup.exchange.ledger.expired == F
    late = report.batch.scored
    assert not any(map(setup.learner.uses.left, late))
    setup.deliver()
    setup.learn()
    known = [s for s in late if setup.learner.uses.of(s) or setup.learner.uses.left(s)]
    assert known == list(late)


def test_a_learner_waits_where_all_stored_questions_are_used_up():
    """One use each: after its first batch nothing in replay may be used again."""
    setup = Setup(max_reuse=1)
    setup.deliver()
    setup.learn()
    with pytest.raises(UserError, match="no actor has delivered"):
        setup.learn()
    setup.exchange.ledger.publish(setup.step)
    setup.deliver()
    assert setup.learn().n_replayed == 0


def test_the_age_of_fresh_questions_is_counted_in_versions():
    setup = Setup(newest_share=1.0)
    for _ in range(3):
        setup.deliver()
    behind = []
    for _ in range(3):
        setup.learn()
        behind.append(setup.learner.bounds.versions_behind)
    assert behind == [0, 1, 2]


def test_what_an_earlier_run_stored_is_used():
    setup = Setup()
    setup.deliver()
    setup.learner.find_stored()
    other = Setup()
    batch = setup.learn()
    assert batch.n_replayed > 0 and other.learner.replay.size() == 0


def test_stored_questions_that_the_environment_cannot_produce_are_left_out():
    setup = Setup()
    report = setup.deliver()
    setup.learn()
    store = MemoryReplay("test", ReplayConfig(near_duplicate=0.0))
    planted = [replace_ids(s, (9, i)) for i, s in enumerate(report.batch.scored)]
    store.add(planted, [0.0] * len(planted))
    setup.learner.replay = store
    setup.learner.find_stored()
    setup.deliver()
    assert setup.learn().n_replayed == 0


def replace_ids(scored, ids):
    from msgspec.structs import replace as changed

    return changed(scored, question_ids=ids, log_prior=(-1.0,) * (len(ids) + 1))


def test_uses_of_questions_that_left_replay_are_forgotten():
    setup = Setup()
    setup.deliver()
    setup.learn()
    assert len(setup.learner.uses) > 0
    setup.learner.replay.clear()
    setup.learner.forget_unstored()
    assert len(setup.learner.uses) == 0


def test_repeats_that_count_once_keep_their_counts():
    setup = Setup()
    setup.actor.settings = replace(setup.actor.settings, count_repeats=False, n_samples=20)
    report = setup.deliver()
    batch = setup.learn()
    assert sum(batch.counts) == 2 * 20 > len(batch.scored)
    assert batch.counts == report.batch.counts


class TwoLearners(Ranks):
    """Rank 0 of two in one process, which keeps what it sends to the other."""

    size = 2

    def scatter(self, parts, phase: str) -> bytes:  # noqa: ARG002
        self.sent = [decode(data, DrawnBatch) for data in parts[1:]]
        return parts[0]


def test_two_learners_get_the_batch_that_one_would_get():
    """Uses, bounds and learned questions are those of both."""
    one, two = Setup(), Setup()
    two.learner.ranks = ranks = TwoLearners()
    for setup in (one, two):
        for _ in range(3):
            setup.deliver()
    for _ in range(2):
        whole, share = one.learn(), two.learn()
        both = keys([*share.scored, *ranks.sent[0].scored])
        n_new = len(whole.scored) - whole.n_replayed
        assert set(keys(whole.scored[:n_new])) <= set(both)
        if not whole.n_replayed:
            assert sorted(both) == sorted(keys(whole.scored))
            assert not set(share.facts) & set(ranks.sent[0].facts)
    assert two.exchange.meter.totals().learned >= one.exchange.meter.totals().learned > 0
    assert two.learner.bounds.uses <= two.exchange.settings.max_reuse


def test_stored_questions_that_are_fresh_too_are_replaced():
    """What is stored of the only fact was just sampled again: a second group takes its place."""
    setup = Setup(max_staleness=0)
    setup.learner.ranks = ranks = TwoLearners()
    report = setup.deliver()
    setup.learner.find_stored()
    setup.learner._with_stored = {report.batch.scored[0].fact_key}
    batch = setup.learn()
    assert batch.n_replayed == 0 and ranks.sent[0].n_replayed == 0
    assert sorted(keys([*batch.scored, *ranks.sent[0].scored])) == sorted(keys(report.batch.scored))
