"""The order in which a report lists facts."""

from __future__ import annotations

from collections.abc import Sequence

from contraflow.auditing.outcome.result import FactResult


def worst_first(facts: Sequence[FactResult]) -> list[FactResult]:
    """Counted facts by edit failure, then residual belief; those without an estimate come last."""
    counted = [fact for fact in facts if fact.counted]
    return sorted(
        counted,
        key=lambda fact: (
            -(-1.0 if fact.edit_failure.value is None else fact.edit_failure.value),
            -(fact.residual_belief.value or 0.0),
            -fact.n_failing,
        ),
    )
