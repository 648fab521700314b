"""Interval of the mean of several shares, by their profile likelihood.

Edit i has the rate R_i, estimated by v_i from n_i effective trials. Its log-likelihood, against the
best one, is -n_i KL(v_i, R_i) with KL of two coins. The interval holds every mean of rates that
cost at most -log 0.05 together:

    { Σ R_i / f : Σ n_i KL(v_i, R_i) <= 3.0 }

A rate of few trials is as good as unknown there, and moves the mean by 1 / f at most. Where all
rates are 0 (or 1) the bound is the exact one of drawing no failure with 5 %. Elsewhere half of the
95 % quantile of chi-square, 1.92, would do for many trials (Wilks 1938); edits have few.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy import optimize, special

BUDGET = -math.log(0.05)
_LOG_PULL = (-30.0, 30.0)  # from hardly any pull to one that takes every rate to its end


def mean_interval(
    values: Float[np.ndarray, " f"], sizes: Float[np.ndarray, " f"]
) -> tuple[float, float]:
    """The smallest and the largest mean of rates within the budget."""
    return 1 - _largest_mean(1 - values, sizes), _largest_mean(values, sizes)


def _largest_mean(values: Float[np.ndarray, " f"], sizes: Float[np.ndarray, " f"]) -> float:
    def excess(log_pull: float) -> float:
        return _cost(values, sizes, _pulled(values, sizes, math.exp(log_pull))) - BUDGET

    low, high = _LOG_PULL
    pull = high if excess(high) <= 0 else optimize.brentq(excess, low, high)
    return float(_pulled(values, sizes, math.exp(pull)).mean())


def _pulled(
    values: Float[np.ndarray, " f"], sizes: Float[np.ndarray, " f"], pull: float
) -> Float[np.ndarray, " f"]:
    """R that maximizes pull · R - n KL(v, R): the root of t R² - (t - n) R - n v in [v, 1]."""
    b = pull - sizes
    root = np.sqrt(b * b + 4 * pull * sizes * values)
    # Two forms of one root; either cancels where the other does not.
    with np.errstate(divide="ignore", invalid="ignore"):
        pulled = np.where(b >= 0, (b + root) / (2 * pull), 2 * sizes * values / (root - b))
    inside: Float[np.ndarray, " f"] = np.clip(pulled, values, 1.0)
    return inside


def _cost(
    values: Float[np.ndarray, " f"],
    sizes: Float[np.ndarray, " f"],
    rates: Float[np.ndarray, " f"],
) -> float:
    """Σ n KL(v, R), infinite for R = 1 with v < 1."""
    hits = special.rel_entr(values, rates)
    misses = special.rel_entr(1 - values, 1 - rates)
    return float(sizes @ (hits + misses))
