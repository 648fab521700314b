"""How far what a source of questions found can be off: a bootstrap over edits.

The questions about one edit fail together, so edits are drawn again, each with all its questions;
what else another audit would have drawn is a part of how edits vary. Intervals are percentiles,
widened for few edits (`over_edits.widened_percentiles`) and cut to what is possible. With fewer
than four edits, or where all edits are alike, there is no band.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln

from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.statistics.estimates import proportion, wilson
from contraflow.auditing.statistics.over_edits import (
    MIN_EDITS_TO_BOOTSTRAP,
    widened_percentiles,
)
from contraflow.evaluation.bootstrap import Z_95, student

N_REPLICATES = 500
MAX_ROUNDING = 1e-9


@dataclass(frozen=True)
class Found:
    """What one source asked about one edit: its questions, and the failing ones of each mode."""

    n_asked: int
    mode_sizes: tuple[int, ...]

    @property
    def n_failing(self) -> int:
        """All failing questions."""
        return sum(self.mode_sizes)


@dataclass(frozen=True)
class Band:
    """Lower and upper 95 % bounds of a curve; empty where there is none."""

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def drawn_again(n_edits: int, rng: np.random.Generator) -> Int[np.ndarray, "r f"]:
    """How often each edit is drawn in each replicate; the first one is what was found."""
    replicates = rng.multinomial(n_edits, np.full(n_edits, 1 / n_edits), N_REPLICATES)
    return np.concatenate([np.ones((1, n_edits), dtype=np.int64), replicates])


def failing_after(
    found: Sequence[Found], times: Int[np.ndarray, "r f"], at: Sequence[int]
) -> Float[np.ndarray, "r p"]:
    """Expected number of failing questions among the first `at`, in each replicate."""
    asked = times @ np.array([f.n_asked for f in found])
    failing = times @ np.array([f.n_failing for f in found])
    share = failing / np.maximum(1, asked)
    result: Float[np.ndarray, "r p"] = share[:, None] * _reached(asked, at)
    return result


def modes_after(
    found: Sequence[Found], times: Int[np.ndarray, "r f"], at: Sequence[int]
) -> Float[np.ndarray, "r p"]:
    """Expected number of modes among the first `at` questions: rarefaction of each replicate.

    A mode of c questions is missed by m of N with probability C(N - c, m) / C(N, m).
    """
    asked = times @ np.array([f.n_asked for f in found])
    m = _reached(asked, at)
    n = asked[:, None]
    of_size = [Counter(f.mode_sizes) for f in found]
    result = np.zeros(m.shape)
    for c in sorted(set().union(*of_size)):
        n_modes = times @ np.array([counts[c] for counts in of_size])
        left = np.maximum(0, n - c - m)  # N is at least c in every replicate that has such a mode
        with np.errstate(invalid="ignore"):
            log_missed = gammaln(n - c + 1) - gammaln(left + 1) - gammaln(n + 1)
            missed = np.exp(log_missed + gammaln(n - m + 1))
        missed = np.where(n - c - m >= 0, missed, 0.0)
        result += n_modes[:, None] * (1 - missed)
    return result


def _reached(asked: Int[np.ndarray, " r"], at: Sequence[int]) -> Int[np.ndarray, "r p"]:
    """A replicate that has fewer questions ends with its last one."""
    reached: Int[np.ndarray, "r p"] = np.minimum(asked[:, None], np.asarray(at, dtype=np.int64))
    return reached


def band(curves: Float[np.ndarray, "r p"], at: Sequence[int], n_edits: int) -> Band:
    """The band of a curve, given its replicates, the first of which is the curve itself.

    at: the numbers of questions asked, which no number of findings exceeds.
    """
    if n_edits < MIN_EDITS_TO_BOOTSTRAP or not vary(curves):
        return Band()
    low, high = (
        np.clip(bound, 0, np.asarray(at))
        for bound in widened_percentiles(curves[1:], curves[0], n_edits)
    )
    return Band(tuple(map(float, low)), tuple(map(float, high)))


def vary(replicates: Float[np.ndarray, "r p"]) -> bool:
    """Whether replicates differ by more than the rounding of sums of their size."""
    size = float(np.abs(replicates).max(initial=1.0))
    return float(np.ptp(replicates, axis=0).max(initial=0.0)) > MAX_ROUNDING * size


def per_100(found: Sequence[Found]) -> Estimate:
    """Failing questions per 100 asked, with an interval for edits like these.

    Wilson's, at the number of trials that would vary as the edits do (Korn and Graubard 1998) and
    at most at all questions: that is asymmetric near 0, where a bootstrap of few edits is not.
    """
    n = sum(f.n_asked for f in found)
    share = proportion(sum(f.n_failing for f in found), n)
    if share.value is None:
        return share
    size = _effective_trials(found, share.value, n)
    low, high = wilson(share.value, size)
    return Estimate(value=100 * share.value, low=100 * low, high=100 * high, n=n, ess=size)


def _effective_trials(found: Sequence[Found], share: float, n: int) -> float:
    """R (1 - R) / V with V of the ratio of totals over edits, less for few degrees of freedom."""
    f = len(found)
    if f < MIN_EDITS_TO_BOOTSTRAP:
        return float(n)
    errors = np.array([edit.n_failing - share * edit.n_asked for edit in found])
    variance = f / (f - 1) * float(np.square(errors).sum()) / n**2
    if variance == 0:
        return float(n)
    return min(float(n), share * (1 - share) / variance / (student(f - 1) / Z_95) ** 2)
