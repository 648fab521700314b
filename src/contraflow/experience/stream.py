"""Which facts a step learns from: a function of the step alone, so that a resumed run continues
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
    """The facts of one optimizer step; ``seen`` are facts of earlier steps, for replay."""

    step: int
    facts: tuple[Fact, ...]
    seen: tuple[Fact, ...] = ()


class FactStream:
    """Iterate over `StepFacts`, epoch after epoch in a derived order; the state is one number."""

    def __init__(self, facts: Sequence[Fact], facts_per_step: int, n_steps: int, seed: int) -> None:
        self.facts = tuple(facts)
        self.n_steps = n_steps
        self.seed = seed
        self.facts_per_step = min(facts_per_step, len(facts))
        self._next = 0

    def at(self, step: int) -> StepFacts:
        """Return the facts of a step, and distinct facts of some earlier steps."""
        facts = self._facts_of(step)
        rng = python_rng(self.seed, "seen", step)
        earlier: dict[str, Fact] = {}
        if step:
            for _ in range(3):
                earlier |= {f.key: f for f in self._facts_of(rng.randrange(step))}
        pool = sorted(earlier.values(), key=lambda f: (f.fact_id, f.key))
        return StepFacts(step, facts, tuple(rng.sample(pool, len(pool))))

    def _facts_of(self, step: int) -> tuple[Fact, ...]:
        """Return consecutive facts of the order of the step's epoch."""
        steps_per_epoch = len(self.facts) // self.facts_per_step
        epoch, step_in_epoch = divmod(step, steps_per_epoch)
        order = list(range(len(self.facts)))
        python_rng(self.seed, "epoch", epoch).shuffle(order)
        start = step_in_epoch * self.facts_per_step
        return tuple(self.facts[i] for i in order[start : start + self.facts_per_step])

    def __len__(self) -> int:
        return self.n_steps

    def __iter__(self) -> Iterator[StepFacts]:
        # Lightning makes a new iterator on resume; the position comes from load_state_dict.
        for step in range(self._next, self.n_steps):
            self._next = step + 1
            yield self.at(step)

    def state_dict(self) -> dict[str, Any]:
        """The next step, for Lightning's checkpoint."""
        return {"next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the step of a checkpoint."""
        self._next = int(state["next"])
