"""How many steps have learned from a sampled question, so that none is learned to death.

Uses are counted from the last time that the question was sampled: what the sampler writes again may
be learned again. A learner that would go beyond the limit waits for new questions.

An actor admits its questions to replay before it reports them. A question that replay holds and
nobody has reported is *unknown*: its turn as a new one is still to come, so it has no use as a
stored one yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from contraflow.types import ScoredQuestion


class Uses:
    """The number of uses of each known question, up to ``limit``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: dict[str, int] = {}

    def of(self, scored: ScoredQuestion) -> int:
        """Steps that have learned from a question since it was sampled; 0 if unknown."""
        return self._counts.get(_key(scored), 0)

    def left(self, scored: ScoredQuestion) -> bool:
        """Whether one more step may learn from a stored question; not from an unknown one."""
        return self._counts.get(_key(scored), self.limit) < self.limit

    def know(self, questions: Iterable[ScoredQuestion]) -> None:
        """Take note of questions that nobody will learn from as new ones: known, and unused."""
        for scored in questions:
            self._counts.setdefault(_key(scored), 0)

    def fresh(self, questions: Iterable[ScoredQuestion]) -> None:
        """Take note of a step that learns from newly sampled questions."""
        self._counts |= {_key(scored): 1 for scored in questions}

    def again(self, questions: Iterable[ScoredQuestion]) -> None:
        """Take note of a step that learns from questions again, each counted once.

        Raises: ValueError for a question without a use left.
        """
        for key in {_key(scored) for scored in questions}:
            count = self._counts.get(key, 0) + 1
            if count > self.limit:
                raise ValueError(
                    f"a question would be used {count} times, the limit is {self.limit}"
                )
            self._counts[key] = count

    def keep(self, questions: Iterable[ScoredQuestion]) -> None:
        """Forget all other questions: those that replay no longer holds."""
        keys = {_key(scored) for scored in questions}
        self._counts = {key: n for key, n in self._counts.items() if key in keys}

    def __len__(self) -> int:
        return len(self._counts)

    def state(self) -> dict[str, int]:
        """The counts, for a checkpoint."""
        return dict(self._counts)

    def load(self, state: Mapping[str, int]) -> None:
        """Continue with the counts of a checkpoint."""
        self._counts = dict(state)


def _key(scored: ScoredQuestion) -> str:
    """A short hash of fact and tokens: a checkpoint holds one for every question."""
    data = msgspec.msgpack.encode((scored.fact_key, scored.question_ids))
    return hashlib.blake2b(data, digest_size=12).hexdigest()
