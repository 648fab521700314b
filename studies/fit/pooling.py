"""Shares pooled over runs, and their changes, with bootstrap intervals over facts.

A fact of several runs is one cluster. Runs are not resampled: three are too few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from contraflow.evaluation.bootstrap import Array, Statistic, draw_weights, interval, ratio
from contraflow.evaluation.grouping import FactOfRecord
from contraflow.evaluation.metrics import N_DRAWS
from contraflow.evaluation.records import QuestionRecord
from studies.fit.judged import Measure, Sums


class Estimate(msgspec.Struct, frozen=True):
    """A share or a difference of shares, with its 95 % interval over facts."""

    value: float
    low: float
    high: float
    n_facts: int
    n: int  # questions or facts averaged; of a difference, on both sides together

    def __str__(self) -> str:
        """Digits for a table."""
        if math.isnan(self.value):
            return "n/a"
        limits = "" if math.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{limits}"


def pooled(of_runs: Sequence[Sequence[QuestionRecord]], measure: Measure) -> dict[str, Sums]:
    """Measure each run alone, so that its repeats are its own, and add up the sums of a fact."""
    total: dict[str, dict[FactOfRecord, Array]] = {}
    for records in of_runs:
        for name, sums in (measure(records) if records else {}).items():
            column = total.setdefault(name, {})
            for fact, pair in sums.items():
                column[fact] = column.get(fact, np.zeros(2)) + pair
    return dict(total)


def estimate(sums: Sums) -> Estimate:
    """The share over all facts."""
    return _estimate(np.stack([*sums.values()]), ratio, (0.0, 1.0))


def change(first: Sums, second: Sums) -> Estimate:
    """The second share minus the first; facts of both sides are resampled together."""
    facts = dict.fromkeys([*first, *second])
    none = np.zeros(2)
    rows = [np.concatenate([first.get(f, none), second.get(f, none)]) for f in facts]
    return _estimate(np.stack(rows), lambda s: ratio(s[..., 2:]) - ratio(s[..., :2]), (-1.0, 1.0))


def _estimate(
    sums: Array, combine: Callable[[Array], Array], within: tuple[float, float]
) -> Estimate:
    """``sums`` [facts, 2] or [facts, 4]; every second column is a denominator."""
    counts = sums[:, 1::2]
    statistic = Statistic(sums, combine, round(counts.sum()))
    weights = draw_weights(len(sums), N_DRAWS, np.random.default_rng(0))
    low, high = interval(statistic, weights, within)
    n_facts = int((counts > 0).any(axis=1).sum())
    return Estimate(statistic.value, low, high, n_facts, statistic.n)
