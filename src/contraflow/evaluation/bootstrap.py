"""Cluster bootstrap: confidence intervals from resampled facts.

Questions about one fact are not independent, so whole facts are resampled (Davison & Hinkley 1997,
section 3.8). Percentiles of few values are too narrow, and are widened (Hesterberg 2015). Each
statistic is a function of sums over facts. A resample is then one row of weights
times a small matrix of per-fact sums, and a thousand resamples are one matrix product.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

CONFIDENCE = 0.95
Z_95 = 1.959963984540054
MIN_FACTS = 2  # that an interval over facts needs


@dataclass(frozen=True)
class Statistic:
    """A function of the total of per-fact sums."""

    sums: Array  # [facts, k]
    combine: Callable[[Array], Array]  # [..., k] -> [...]
    n: int  # units averaged: questions or facts
    is_mean: bool = True  # or a smooth function of means, whose percentiles are widened

    @property
    def n_facts(self) -> int:
        """The number of facts with questions that count."""
        return int((self.sums != 0).any(axis=1).sum())

    @property
    def value(self) -> float:
        """The statistic of the original facts."""
        return float(self.combine(self.sums.sum(0)))


def draw_weights(n_facts: int, draws: int, rng: np.random.Generator) -> Array:
    """Sample how often each fact occurs in each resample, [draws, facts].

    All statistics of a table share these weights.
    """
    return rng.multinomial(n_facts, np.full(n_facts, 1 / n_facts), size=draws).astype(np.float64)


def student(degrees: int) -> float:
    """97.5 % quantile of Student's t."""
    return float(special.stdtrit(degrees, 0.975))


def widening(n: int) -> float:
    """By how much percentiles of resamples of n values are moved away from the statistic.

    By sqrt(n / (n - 1)), which the variance of resampling lacks, and by Student's quantile of n - 1
    degrees of freedom over the normal one (Hesterberg 2015).
    """
    return math.sqrt(n / (n - 1)) * student(n - 1) / Z_95


def interval(
    statistic: Statistic, weights: Array, within: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float]:
    """Return the widened percentile interval over the resamples in which the statistic is defined.

    Args:
        within: what is possible; the interval is cut to it. Where both bounds are finite and all
            facts are alike, the interval is that of `one_more`.

    Two NaNs if it is defined in none, or if fewer than two facts have questions that count: every
    resample of one fact is that fact, and the interval would be a point.
    """
    if statistic.n_facts < MIN_FACTS:
        return math.nan, math.nan
    values = statistic.combine(weights @ statistic.sums)
    tail = 50 * (1 - CONFIDENCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all values may be NaN
        ends = np.nanpercentile(values, [tail, 100 - tail])
    if statistic.is_mean:
        center = statistic.value
        ends = center + widening(statistic.n_facts) * (ends - center)
    low, high = np.clip(ends, *within)
    if low == high and math.isfinite(within[0]) and math.isfinite(within[1]):
        return one_more(float(low), statistic.n_facts, within)
    return float(low), float(high)


def one_more(value: float, n: int, within: tuple[float, float]) -> tuple[float, float]:
    """The interval of a mean of n facts that are all alike: no resample differs.

    Another one may still come up with a probability of 1 - 0.05^(1/n), about 3/n, and be anything
    that is possible.
    """
    other = 1 - 0.05 ** (1 / n)
    return value - other * (value - within[0]), value + other * (within[1] - value)


def ratio(sums: Array) -> Array:
    """Return the first sum over the second; NaN where the second is 0."""
    return _divide(sums[..., 0], sums[..., 1])


def pearson_of_sums(sums: Array) -> Array:
    """Return the Pearson correlation from n, Σx, Σy, Σxx, Σyy, Σxy; NaN if x or y is constant.

    The sums may be weighted, so that one call gives the correlation of every resample.
    `diagnostics.correlation` takes the values themselves.
    """
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
    return _divide(n * xy - x * y, np.where(spread > 1e-9, spread, 0))


def _divide(top: Array, bottom: Array) -> Array:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom != 0)
