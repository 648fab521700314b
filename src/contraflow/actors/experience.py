"""A step's batch: fresh questions first, the rest from replay by priority.

A fact is the unit, because every loss here compares or averages within facts. Of the facts of a
batch, `exchange.newest_share` get the questions that an actor has just sampled for them. The others
get stored questions, as `replay.sampling` draws them, without those that are among the fresh ones,
as long as these may be used again; where too few may, fresh questions take their place, and the
learner waits for them. Where several learners take the step together, the one with the exchange
deals the batch to all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from contraflow.actors.deal import deal
from contraflow.actors.exchange import Exchange
from contraflow.actors.follower import send_shares
from contraflow.actors.groups import merge
from contraflow.actors.ledger import FreshGroup
from contraflow.actors.uses import Uses
from contraflow.distributed.ranks import Ranks
from contraflow.experience.collect import Batch, Experience
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.base import SEEDED, ReplayStore
from contraflow.reward.schedule import RewardSchedule
from contraflow.seeding import python_rng
from contraflow.settings.learning import ExplorationConfig
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion

_FACTS_PER_READ = 8


@dataclass(frozen=True)
class BatchBounds:
    """How old and how used the questions of a batch are."""

    versions_behind: int  # the oldest fresh group
    versions_behind_mean: float  # over fresh groups
    uses: int  # of the most used question, this step included
    uses_mean: float


class LearnerExperience(Experience):
    """Batches from an exchange and from the replay that the actors fill.

    ranks: the learners, of which this is rank 0; the others have a `FollowerExperience`.
    """

    def __init__(
        self,
        policy: LoraPolicy,
        scorer: Scorer,
        replay: ReplayStore,
        reward: RewardSchedule,
        settings: ExplorationConfig,
        *,
        seed: int,
        exchange: Exchange,
        facts: Sequence[Fact],
        capacity_per_fact: int = ReplayConfig.capacity_per_fact,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(policy, scorer, replay, reward, settings, seed=seed)
        self.exchange = exchange
        self.uses = Uses(exchange.settings.max_reuse)
        self.capacity_per_fact = capacity_per_fact
        self.ranks = ranks or Ranks()
        self.bounds = BatchBounds(0, 0.0, 0, 0.0)
        self._facts = {fact.key: fact for fact in facts}
        self._with_stored: set[str] = set()  # facts with questions in replay, as far as is known

    def find_stored(self) -> None:
        """Look up which facts have questions in replay, which an earlier run may have filled."""
        kept = [entry.scored for entry in self.replay.entries()]
        self.uses.know(kept)
        self._with_stored = {s.fact_key for s in kept} & set(self._facts)

    def forget_unstored(self) -> None:
        """Forget the uses of questions that replay no longer holds."""
        self.uses.keep(entry.scored for entry in self.replay.entries())

    def collect(self, facts: Sequence[Fact], step: int, seen: Sequence[Fact] = ()) -> Batch:  # noqa: ARG002
        """Return this learner's share of a step's batch; waits for actors.

        The facts are those of actors' questions. Collective: every learner calls it once a step.

        Raises: UserError where the exchange cannot go on.
        """
        parts = self._parts(step)
        device = str(self.policy.lm.device)
        shares = [merge(hand, device) for hand in deal(parts, self.ranks.size)]
        return send_shares(self.ranks, shares, step)

    def _parts(self, step: int) -> list[Batch]:
        """The batch of all learners, one part for each group of questions, fresh ones first."""
        self._take_note_of_late()
        n_facts = self.exchange.ledger.facts_per_step
        n_fresh = self.exchange.ledger.n_fresh(step)
        fresh = self.exchange.take(n_fresh)
        stored = list(islice(self._stored_groups(step, fresh), n_facts - n_fresh))
        # Too few may be used again; and what is taken in their place may be stored as well.
        while (n_missing := n_facts - len(fresh) - len(stored)) > 0:
            fresh += self.exchange.take(n_missing)
            stored = [row for row in (_without(row, fresh) for row in stored) if row]
        self._count(fresh, [s for row in stored for s in row])
        return [*(group.batch for group in fresh), *map(self._of_stored, stored)]

    def _take_note_of_late(self) -> None:
        """What came too late is learned from as stored questions."""
        late = [s for group in self.exchange.late() for s in group.batch.scored]
        self.uses.know(late)
        self._with_stored |= {s.fact_key for s in late} & set(self._facts)

    def _of_stored(self, row: Sequence[ScoredQuestion]) -> Batch:
        """Stored questions of a fact as a batch."""
        fact = self._facts[row[0].fact_key]
        return self._batch([fact], row, [1] * len(row), 1.0, n_replayed=len(row))

    def _stored_groups(
        self, step: int, fresh: Sequence[FreshGroup]
    ) -> Iterator[list[ScoredQuestion]]:
        """Rows of up to n stored questions, each of one fact, that may be used again."""
        rng = python_rng(self.seed, step, "replayed facts")
        keys = rng.sample(sorted(self._with_stored), len(self._with_stored))
        for start in range(0, len(keys), _FACTS_PER_READ):
            some = keys[start : start + _FACTS_PER_READ]
            for row in self.replay.sample(some, self.capacity_per_fact, rng):
                usable = _without([s for s in row if self._may_use(s)], fresh)
                if usable:
                    yield usable[: self.settings.n_samples]

    def _may_use(self, scored: ScoredQuestion) -> bool:
        # A user's own questions have no turn as new ones, also those put in while the run goes on.
        is_seeded = scored.sampler == SEEDED and self.uses.of(scored) == 0
        may = is_seeded or self.uses.left(scored)
        return may and self.policy.constraints.admits(scored.question_ids)

    def _count(self, fresh: Sequence[FreshGroup], again: Sequence[ScoredQuestion]) -> None:
        """Take note of what a step of all learners learns from."""
        new = [s for group in fresh for s in group.batch.scored]
        self._with_stored |= {s.fact_key for s in new}
        self.exchange.meter.learned(sum(map(_draws, fresh)) + len(again))
        self.uses.fresh(new)
        self.uses.again(again)
        behind = [self.exchange.ledger.behind(group.version) for group in fresh] or [0]
        uses = [self.uses.of(s) for s in (*new, *again)]
        self.bounds = BatchBounds(
            versions_behind=max(behind),
            versions_behind_mean=sum(behind) / len(behind),
            uses=max(uses),
            uses_mean=sum(uses) / len(uses),
        )


def _without(row: list[ScoredQuestion], fresh: Sequence[FreshGroup]) -> list[ScoredQuestion]:
    """A stored row without what is fresh too; empty where too few are left to learn from.

    One question of a fact has no differences to learn from.
    """
    known = {_key(s) for group in fresh for s in group.batch.scored}
    left = [s for s in row if _key(s) not in known]
    return left if len(left) > 1 else []


def _key(scored: ScoredQuestion) -> tuple[str, tuple[int, ...]]:
    return scored.fact_key, scored.question_ids


def _draws(group: FreshGroup) -> int:
    return sum(group.batch.counts)
