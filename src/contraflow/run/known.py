"""The facts that an oracle knows, without asking it twice.

Answers of a local model of known content are kept: they depend on the model, its prompt and the
question, all of which are in their key. A server may answer otherwise tomorrow and is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from contraflow.facts import Fact
from contraflow.facts.known import known_facts
from contraflow.facts.plain_answers import PlainAnswers
from contraflow.models.weights.packaged import cache_dir
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.types import Oracle


def known_to(
    oracle: Oracle, facts: Sequence[Fact], on_fact: Callable[[int], None] | None = None
) -> list[Fact]:
    """Return the facts whose plain question the oracle answers right, in order (`known_facts`)."""
    remembered = None
    if isinstance(oracle, FrozenLMOracle):
        remembered = _remembered(oracle.identity, str(cache_dir()))
    return known_facts(facts, oracle, on_fact, remembered)


@lru_cache(maxsize=4)
def _remembered(identity: str, cache: str) -> PlainAnswers:
    """Read once per process: callers ask about many small batches."""
    return PlainAnswers(identity, Path(cache) / "plain_answers")
