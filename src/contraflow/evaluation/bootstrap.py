"""Intervals that know that questions about one fact are not independent: whole facts are drawn
again.

Each statistic is a function of sums over facts, so a bootstrap draw is one row of weights times a
small matrix of per-fact sums, and a thousand draws are one matrix product. (Cluster bootstrap:
Davison & Hinkley 1997, section 3.8.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Statistic:
    """Per-fact sums, what to make of their total over facts, and how many units were averaged."""

    sums: Array  # [facts, k]
    combine: Callable[[Array], Array]  # [..., k] -> [...]
    n: int

    @property
    def value(self) -> float:
        """The statistic of the facts as they are."""
        return float(self.combine(self.sums.sum(0)))


def draw_weights(n_facts: int, draws: int, rng: np.random.Generator) -> Array:
    """How often each fact is drawn in each resample, [draws, facts]; shared by all statistics of a
    table.
    """
    return rng.multinomial(n_facts, np.full(n_facts, 1 / n_facts), size=draws).astype(np.float64)


def interval(statistic: Statistic, weights: Array) -> tuple[float, float]:
    """Percentile interval over the resamples in which the statistic is defined; NaNs if there are
    none.
    """
    values = statistic.combine(weights @ statistic.sums)
    tail = 50 * (1 - CONFIDENCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "all NaN" is an answer, not a problem
        low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def ratio(sums: Array) -> Array:
    """First over second sum; NaN where the second is 0."""
    return _divide(sums[..., 0], sums[..., 1])


def correlation(sums: Array) -> Array:
    """Pearson correlation from n, Σx, Σy, Σxx, Σyy, Σxy."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
    return _divide(n * xy - x * y, np.where(spread > 1e-9, spread, 0))


def _divide(top: Array, bottom: Array) -> Array:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom != 0)
