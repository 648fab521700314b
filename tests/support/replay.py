"""Hand-made questions and stores, for the tests of replay."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from contraflow.replay import MemoryReplay, ReplayStore
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion

# Python's prelude of a helper process. Importing torch takes three seconds and replay has no use
# for it: only the annotations of contraflow.types name its Tensor.
WITHOUT_TORCH = """
import sys, types
sys.modules["torch"] = types.ModuleType("torch")
sys.modules["torch"].Tensor = object
"""


def program(code: str, *arguments: str) -> dict[str, object]:
    """What `subprocess` needs to run the code in a Python of its own that finds these helpers."""
    return {
        "args": [sys.executable, "-c", WITHOUT_TORCH + code, *arguments],
        "env": {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    }


def question(
    fact_id: str, ids: Sequence[int], *, step: int = 0, log_contradiction: float = -1.0
) -> ScoredQuestion:
    """A question whose text shows its ids, so that failures can be read."""
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
    """n questions that share no token, so that none is a near-duplicate of another."""
    return [question(fact_id, range(10 * i, 10 * i + 5), step=i) for i in range(n)]


def held(store: ReplayStore, fact_id: str) -> set[tuple[int, ...]]:
    """The token ids of all that is stored for a fact."""
    return {entry.question_ids for entry in store.sample([fact_id], 10_000, random.Random(0))[0]}


def ids_of(entries: Sequence[ScoredQuestion]) -> list[tuple[int, ...]]:
    return [entry.question_ids for entry in entries]


def reference(
    namespace: str,
    settings: ReplayConfig,
    batches: Sequence[tuple[list[ScoredQuestion], list[float]]],
) -> MemoryReplay:
    """A memory store after the given calls of `add`."""
    store = MemoryReplay(namespace, settings)
    for entries, priorities in batches:
        store.add(entries, priorities)
    return store


def random_batches(
    seed: int, n_batches: int, size: int
) -> list[tuple[list[ScoredQuestion], list[float]]]:
    """Batches with many near-duplicates, repeated questions and tied priorities over three facts."""
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
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))
