"""Which facts a step learns from, as a function of the step alone, so that a resumed run reads on
exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from contraflow.facts import Fact
from contraflow.seeding import python_rng


@dataclass(frozen=True)
class StepFacts:
    """The facts of one optimizer step; ``seen`` are facts of earlier steps, for a step that
    replays.
    """

    step: int
    facts: tuple[Fact, ...]
    seen: tuple[Fact, ...] = ()


class FactStream:
    """An iterable of `StepFacts`, epoch after epoch in a new derived order; its state is one
    number.
    """

    def __init__(self, facts: Sequence[Fact], facts_per_step: int, n_steps: int, seed: int) -> None:
        self.facts, self.n_steps, self.seed = tuple(facts), n_steps, seed
        self.facts_per_step = min(facts_per_step, len(facts))
        self._next = 0

    def at(self, step: int) -> StepFacts:
        """The facts of a step, and some that earlier steps had; none twice."""
        facts = self._of(step)
        rng = python_rng(self.seed, "seen", step)
        earlier = [self._of(rng.randrange(step)) for _ in range(3)] if step else []
        pool = sorted(
            {f.fact_id: f for part in earlier for f in part}.values(), key=lambda f: f.fact_id
        )
        return StepFacts(step, facts, tuple(rng.sample(pool, len(pool))))

    def _of(self, step: int) -> tuple[Fact, ...]:
        """Consecutive facts of that epoch's order."""
        per_epoch = len(self.facts) // self.facts_per_step
        epoch, place = divmod(step, per_epoch)
        order = list(range(len(self.facts)))
        python_rng(self.seed, "epoch", epoch).shuffle(order)
        start = place * self.facts_per_step
        return tuple(self.facts[i] for i in order[start : start + self.facts_per_step])

    def __len__(self) -> int:
        return self.n_steps

    def __iter__(self) -> Iterator[StepFacts]:
        # Lightning asks for a new iterator on resume; the position comes from load_state_dict.
        for step in range(self._next, self.n_steps):
            self._next = step + 1
            yield self.at(step)

    def state_dict(self) -> dict[str, Any]:
        return {"next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._next = int(state["next"])
