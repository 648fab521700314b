"""Settings that are allowed together, and that hardly anybody means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from contraflow.settings import Config
from contraflow.settings.keys import override_key

HIGH_RATE = 0.05
PAIRS = ("vargrad", "ctb")  # losses over pairs of a fact's questions


@dataclass(frozen=True)
class _Together:
    keys: tuple[str, ...]
    is_so: Callable[[Config], bool]
    what: Callable[[Config], str]


_UNLIKELY = (
    _Together(
        ("optimizer.lr",),
        lambda c: c.optimizer.lr > HIGH_RATE,
        lambda c: (
            f"optimizer.lr={c.optimizer.lr:g} is far above what an adapter learns with, about "
            "1e-3; its questions will soon be noise"
        ),
    ),
    _Together(
        ("optimizer.warmup_steps", "trainer.n_steps"),
        lambda c: c.optimizer.warmup_steps >= c.trainer.n_steps,
        lambda c: (
            f"optimizer.warmup_steps={c.optimizer.warmup_steps} with "
            f"trainer.n_steps={c.trainer.n_steps}: the learning rate never reaches optimizer.lr"
        ),
    ),
    _Together(
        ("reward.penalized_reward_end_step", "trainer.n_steps"),
        lambda c: (
            c.reward.kind == "hybrid" and c.reward.penalized_reward_end_step >= c.trainer.n_steps
        ),
        lambda c: (
            f"reward.penalized_reward_end_step={c.reward.penalized_reward_end_step} with "
            f"trainer.n_steps={c.trainer.n_steps}: no step is trained with the composite reward, "
            "by which the run is evaluated"
        ),
    ),
    _Together(
        ("exploration.use_buffer_prob",),
        lambda c: c.exploration.use_buffer_prob == 1,
        lambda _: (
            "exploration.use_buffer_prob=1: new questions are asked only as long as nothing is "
            "stored"
        ),
    ),
    _Together(
        ("exploration.use_buffer_prob", "replay.capacity_per_fact"),
        lambda c: (
            c.exploration.use_buffer_prob > 0
            and c.replay.capacity_per_fact == 1 < c.exploration.n_samples
        ),
        lambda c: (
            f"replay.capacity_per_fact=1 with exploration.n_samples={c.exploration.n_samples}: no "
            "step is replayed, as one stored question of a fact has nothing to be compared with"
        ),
    ),
    _Together(
        ("exploration.prior_share", "exploration.n_samples"),
        lambda c: (
            c.objective.name in PAIRS
            and 0 < min(c.exploration.n_prior, c.exploration.n_samples - c.exploration.n_prior) < 2
        ),
        lambda c: (
            f"exploration.prior_share={c.exploration.prior_share:g} with "
            f"exploration.n_samples={c.exploration.n_samples}: one of the two parts has a single "
            f"question, so objective={c.objective.name} does not see how much that part varies; "
            "draw two or more of both"
        ),
    ),
)


def unlikely(overrides: Iterable[str], config: Config) -> Iterator[str]:
    """Yield a line for each such combination of which somebody set a key."""
    typed = {override_key(override) for override in overrides}
    for together in _UNLIKELY:
        if typed.intersection(together.keys) and together.is_so(config):
            yield together.what(config)
