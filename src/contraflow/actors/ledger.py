"""Which versions there are, which work actors may start, and which questions wait to be learned.

Versions are counted: version v is the adapter after v · `exchange.publish_every` steps. A question
is *fresh* until it is learned from, and while its version is at most `exchange.max_staleness`
behind the newest one. An older one is in replay and has no claim to be learned first.

Fresh questions are learned in the order in which they came. So it is known, before an actor starts,
about how many versions behind its questions will be when their turn comes. An actor whose questions
would be too old waits for the next version.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass

from contraflow.actors.groups import split
from contraflow.actors.messages import Assignment, Collected
from contraflow.experience.density import DrawnBatch
from contraflow.settings.running import ExchangeConfig


@dataclass(frozen=True)
class FreshGroup:
    """The questions that an actor sampled for one fact, with a version of the adapter."""

    batch: DrawnBatch
    version: int


class Ledger:
    """The state of an exchange. Plain bookkeeping of one thread: no clock, no processes.

    facts_per_step: facts of a step's batch, over all learners.
    next_number: the first assignment, which a resumed run has in its checkpoint.
    facts_per_assignment: as many as of a step if None.
    """

    def __init__(
        self,
        settings: ExchangeConfig,
        facts_per_step: int,
        next_number: int = 0,
        facts_per_assignment: int | None = None,
    ) -> None:
        self.settings = settings
        self.facts_per_step = facts_per_step
        self.facts_per_assignment = facts_per_assignment or facts_per_step
        self.next_number = next_number
        self.version = 0
        self.step = 0
        self.expired = 0  # groups that were too old when they came, or while they waited
        self.questions = 0  # scored by actors
        self._fresh: deque[FreshGroup] = deque()
        self._in_work: dict[int, Assignment] = {}
        self._returned: list[int] = []
        self._late: list[FreshGroup] = []
        self._learning = False  # between a step's `take` and its `publish`
        self._awaited = 0  # groups that the last `take` did not get

    @property
    def fresh_groups(self) -> int:
        """Groups that wait to be learned."""
        return len(self._fresh)

    @property
    def in_work(self) -> int:
        """Assignments that actors work at."""
        return len(self._in_work)

    def publish(self, step: int) -> bool:
        """Take note that ``step`` steps are done; True where that makes a new version."""
        version = step // self.settings.publish_every
        is_new = version > self.version
        self.step = step
        self.version = version
        self._learning = False
        self._drop_expired()
        return is_new

    def behind(self, version: int) -> int:
        """How many versions a version is behind the newest one."""
        return self.version - version

    def may_start(self) -> bool:
        """Whether an actor may start with the newest version.

        Where it may not, it waits: for the next version, or until the learner has used more.
        """
        ahead = len(self._fresh) + self.facts_per_assignment * self._usable_in_work()
        if self._behind_when_learned(ahead) <= self._limit:
            return True
        # A learner that waits for a batch and actors that wait for a version would wait forever.
        return ahead < (self._awaited if self._learning else self.facts_per_step)

    def _behind_when_learned(self, ahead: int) -> int:
        """Versions that a new assignment's last group will be behind, after ``ahead`` groups."""
        groups = ahead + self.facts_per_assignment
        steps = math.ceil(groups / self._fresh_per_step - 1e-9)
        since_published = self.step - self.version * self.settings.publish_every + self._learning
        return (since_published + steps - 1) // self.settings.publish_every

    def _usable_in_work(self) -> int:
        return sum(self.behind(a.version) <= self._limit for a in self._in_work.values())

    def assign(self) -> Assignment:
        """The next assignment, with the newest version; work of an actor that ended comes first."""
        if self._returned:
            number = heapq.heappop(self._returned)
        else:
            number = self.next_number
            self.next_number += 1
        assignment = Assignment(number, self.version, self.version * self.settings.publish_every)
        self._in_work[number] = assignment
        return assignment

    def receive(self, collected: Collected) -> None:
        """Add an actor's questions. A second report of an assignment is ignored."""
        if self._in_work.pop(collected.assignment.number, None) is None:
            return
        self.questions += sum(collected.batch.counts)
        version = collected.assignment.version
        self._fresh += [FreshGroup(batch, version) for batch in split(collected.batch)]
        self._drop_expired()

    def give_back(self, assignment: Assignment) -> None:
        """Take note that the actor of an assignment has ended without a report."""
        if self._in_work.pop(assignment.number, None) is not None:
            heapq.heappush(self._returned, assignment.number)

    def take(self, n: int) -> list[FreshGroup] | None:
        """The n fresh groups that wait longest; None, taking nothing, where there are fewer.

        A step takes once, or again where it turns out to need more, and ends with `publish`.
        """
        self._awaited = n if len(self._fresh) < n else 0
        if self._awaited:
            return None
        self._learning = True
        return [self._fresh.popleft() for _ in range(n)]

    def late(self) -> list[FreshGroup]:
        """The groups that have expired since the last call."""
        found, self._late = self._late, []
        return found

    def n_fresh(self, step: int) -> int:
        """Facts of a step's batch that get fresh questions.

        They are whole numbers whose mean over steps is the share: 3, 3, 3, … of 4 at 0.75, and 1,
        2, 1, 2, … of 2 at 0.75.
        """
        per_step = self._fresh_per_step
        return math.floor((step + 1) * per_step + 1e-9) - math.floor(step * per_step + 1e-9)

    @property
    def _fresh_per_step(self) -> float:
        return self.settings.newest_share * self.facts_per_step

    @property
    def _limit(self) -> int:
        return self.settings.max_staleness

    def _drop_expired(self) -> None:
        kept: deque[FreshGroup] = deque()
        for group in self._fresh:
            (kept if self.behind(group.version) <= self._limit else self._late).append(group)
        self.expired += len(self._fresh) - len(kept)
        self._fresh = kept
