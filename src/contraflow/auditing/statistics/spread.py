"""How far a weighted share can be off: effective numbers of draws, and bounds of a count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special

PSEUDO_TRIALS = 2  # of each outcome: z² / 2, rounded
MOST_EFFECTIVE = 1e6  # where all questions are known, and nothing is left to estimate


@dataclass(frozen=True)
class Spread:
    """What the variance of a share is made of.

    hits, misses: Σ u² (1 - pi) over either; largest: the largest weight u of an unlikely question.
    """

    hits: float
    misses: float
    largest: float

    def n_effective(self, share: float) -> float:
        """Number of equal trials with the variance of this share."""
        m = self.largest
        if m <= 1 / MOST_EFFECTIVE:
            return MOST_EFFECTIVE
        total = 1 + 2 * PSEUDO_TRIALS * m
        smooth = (share + PSEUDO_TRIALS * m) / total
        hits = self.hits + PSEUDO_TRIALS * m**2
        misses = self.misses + PSEUDO_TRIALS * m**2
        variance = (hits * (1 - smooth) ** 2 + misses * smooth**2) / total**2
        n = smooth * (1 - smooth) / variance - 2 * PSEUDO_TRIALS
        return min(n, MOST_EFFECTIVE)


def inclusion(
    weights: Float[np.ndarray, " n"], log_p_ref: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """pi = p_ref / w, at most 1."""
    share: Float[np.ndarray, " n"] = np.minimum(1.0, np.exp(log_p_ref - np.log(weights)))
    return share


def unlikely_weights(
    weights: Float[np.ndarray, " n"], included: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """w pi / -log(1 - pi): the weight of a question with the same P_F / P_Q and hardly any P_Q.

    At most exp(kappa) of the draws from P_Q; about w where pi is small, 0 where it is 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = -included / np.log1p(-included)
    unlikely: Float[np.ndarray, " n"] = weights * np.where(included > 0, factor, 1.0)
    return unlikely


def gamma_interval(total: float, variance: float, largest: float) -> tuple[float, float]:
    """95 % interval of the mean of a weighted Poisson sum (Fay and Feuer 1997)."""

    def quantile(level: float, mean: float, spread: float) -> float:
        if mean <= 0 or spread <= 0:
            return 0.0
        return float(special.gammaincinv(mean**2 / spread, level)) * spread / mean

    return (
        quantile(0.025, total, variance),
        quantile(0.975, total + largest, variance + largest**2),
    )
