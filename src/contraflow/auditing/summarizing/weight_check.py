"""What the rates rest on: the distribution of the weights of all draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from contraflow.auditing.outcome.result import WeightCheck
from contraflow.auditing.outcome.rows import Row
from contraflow.auditing.statistics.estimates import effective

N_BINS = 20


def weight_sums(rows: Mapping[str, Sequence[Row]]) -> list[float]:
    """Σ w of each edit with draws; its expectation is 1."""
    sums = [sum(row.weight for row in of_edit if row.is_draw) for of_edit in rows.values()]
    return [total for total in sums if total > 0]


def weight_check(rows: Mapping[str, Sequence[Row]], problem: str) -> WeightCheck:
    """Sums of weights per edit, effective sample sizes, and a histogram of log10 of the weights.

    A person's own questions, each of weight 1, are no sample whose weights must have mean 1.

    problem: why there is no estimate, or "".
    """
    draws = [row for of_edit in rows.values() for row in of_edit if row.is_draw]
    sums = weight_sums(rows)
    if not draws:
        return WeightCheck(
            mean=None,
            standard_error=None,
            ess=0.0,
            ess_failing=0.0,
            n=0,
            largest_share=0.0,
            note=problem or "no draws",
        )
    weights = np.array([row.weight for row in draws])
    failing = np.array([row.weight for row in draws if row.fails])
    counts, edges = np.histogram(np.log10(weights), bins=N_BINS)
    is_sample = any(row.log_p_prior is not None for row in draws)
    error = float(np.std(sums, ddof=1)) / math.sqrt(len(sums)) if len(sums) > 1 else 0.0
    return WeightCheck(
        mean=float(np.mean(sums)) if is_sample else None,
        standard_error=error if is_sample else None,
        ess=effective(weights),
        ess_failing=effective(failing),
        n=len(draws),
        largest_share=float(weights.max() / weights.sum()),
        edges=tuple(map(float, edges)),
        counts=tuple(map(int, counts)),
        note=problem,
    )
