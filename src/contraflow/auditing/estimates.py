"""Rates with intervals from weighted questions of several edits.

Per edit a rate is a ratio of weighted sums: of the questions that the control answers with the
original answer, the share in which the edited model fails. Ratios are consistent, with a bias of
order 1/n. Their intervals are Wilson's at an effective number of trials n_eff, which is
R (1 - R) / V (Korn and Graubard 1998) with the linearized Horvitz-Thompson variance
V = Σ u² (1 - pi) (h - R)², u = w / Σ w: the terms of one sample are uncorrelated (Duffield, Lund
and Thorup 2007), those of two samples nearly so. Few hits say little about V, so R and V are taken
with two more hits and two more misses (Agresti and Coull 1998) of the largest weight m that a
question of little probability can have. Then n_eff is never below 1 / m, the number of equal draws
that would have no smaller variance, and equals n for n equal weights.

Over edits the rate is the mean of the edits' rates, each with equal weight. Its interval holds the
one of all their questions pooled and, from four edits on, a bootstrap over edits as well: the first
covers the mean of these edits, the second that of edits like them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import special

from contraflow.auditing.result import VERDICTS, Estimate
from contraflow.auditing.spread import (
    Spread,
    gamma_interval,
    inclusion,
    largest_unseen_mean,
    unlikely_weights,
)

Z_95 = 1.959963984540054
N_BOOTSTRAP = 2000
MIN_EDITS_TO_BOOTSTRAP = 4
MEAN_WEIGHT_RANGE = (0.5, 2.0)
MAX_SPREAD = 1.25


def effective(weights: Float[np.ndarray, " n"]) -> float:
    """Kish's effective sample size, (Σ w)² / Σ w²; 0 for no weight."""
    total = float(np.sum(weights))
    return total**2 / float(np.sum(np.square(weights))) if total > 0 else 0.0


def proportion(successes: int, n: int) -> Estimate:
    """A share of n equal trials, with the interval of `wilson`."""
    if n == 0:
        return Estimate.missing("no estimate: nothing to count")
    low, high = wilson(successes / n, n)
    return Estimate(value=successes / n, low=low, high=high, n=n, ess=float(n))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n (effective) trials, widened near 0 and 1.

    There it misses too often (Brown, Cai and DasGupta 2001), so a bound is no tighter
    than the exact one-sided one (Clopper-Pearson at 95 %). At 0 and 1 it is that one:
    1 - 0.05^(1/n), about 3/n.
    """
    if share <= 0.0:
        return 0.0, 1 - 0.05 ** (1 / n)
    if share >= 1.0:
        return 0.05 ** (1 / n), 1.0
    center = (share + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    spread = math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2)) * Z_95 / (1 + Z_95**2 / n)
    hits, misses = share * n, (1 - share) * n
    low = min(center - spread, float(special.betaincinv(hits, misses + 1, 0.05)))
    high = max(center + spread, float(special.betaincinv(hits + 1, misses, 0.95)))
    return max(0.0, low), min(1.0, high)


def rate(
    weights: Float[np.ndarray, " n"],
    counted: Bool[np.ndarray, " n"],
    hit: Bool[np.ndarray, " n"],
    log_p_ref: Float[np.ndarray, " n"] | None = None,
    largest_unseen: float | None = None,
) -> Estimate:
    """The share of `hit` among `counted` questions of one edit, self-normalized.

    `ess` is the effective number of equal draws. Where a few questions hold much of the reference
    it can exceed n: what was surely drawn has no error.

    log_p_ref: of each question, in nats; p_ref / w is its inclusion probability. Without it the
        questions count as drawn with replacement, which gives wider intervals.
    largest_unseen: the largest weight that a question which was not drawn can have. It matters
        where every counted question is a hit: a sampler that seeks hits avoids what is none, so a
        miss that it left out would weigh more than any question that it drew.
    """
    counted = counted & (weights > 0)
    n = int(np.sum(counted))
    if n == 0:
        return Estimate.missing("no estimate: no question that the control answers")
    inside, is_hit = weights[counted], hit[counted]
    missed = np.ones(n)
    possible = inside
    if log_p_ref is not None:
        included = inclusion(inside, log_p_ref[counted])
        missed = 1 - included
        possible = unlikely_weights(inside, included)
    if largest_unseen is not None and bool(is_hit.all()):
        possible = np.append(possible, largest_unseen)
    total = float(np.sum(inside))
    spreads = np.square(inside / total) * missed
    value = min(1.0, float(np.sum(inside * is_hit)) / total)
    spread = Spread(
        hits=float(np.sum(spreads * is_hit)),
        misses=float(np.sum(spreads * ~is_hit)),
        largest=float(np.max(possible)) / total,
    )
    ess = spread.n_effective(value)
    low, high = wilson(value, ess)
    return Estimate(value=value, low=low, high=high, n=n, ess=ess)


def mean_over_edits(estimates: Sequence[Estimate], rng: np.random.Generator) -> Estimate:
    """The mean of the edits' rates; edits without one are left out.

    The interval of up to three edits is about the mean of these edits. That of more holds a
    bootstrap over edits too. Where all rates are 0, the upper bound is the largest mean with which
    no failure at all is drawn with 5 %: about 3 / n of all effective questions.
    """
    known = [e for e in estimates if e.value is not None and e.ess > 0]
    if not known:
        return Estimate.missing("no estimate: no edit has one", len(estimates))
    n = sum(e.n for e in known)
    values = np.array([e.value for e in known], dtype=np.float64)
    sizes = np.array([e.ess for e in known], dtype=np.float64)
    value = float(values.mean())
    ess = _pooled_size(values, sizes)
    low, high = _pooled_interval(values, sizes, ess)
    if len(known) >= MIN_EDITS_TO_BOOTSTRAP and 0 < value < 1:
        boot_low, boot_high = bootstrap_mean(values, rng)
        low, high = min(low, max(0.0, boot_low)), max(high, min(1.0, boot_high))
    return Estimate(value=value, low=low, high=high, n=n, ess=ess)


def _pooled_size(values: Float[np.ndarray, " f"], sizes: Float[np.ndarray, " f"]) -> float:
    """Effective number of all questions, those of edit i counting 1 / (f n_i) each."""
    f = len(values)
    each = 1 / (f**2 * sizes)
    spread = Spread(
        hits=float(np.sum(each * values)),
        misses=float(np.sum(each * (1 - values))),
        largest=float(np.max(1 / (f * sizes))),
    )
    return spread.n_effective(float(values.mean()))


def _pooled_interval(
    values: Float[np.ndarray, " f"], sizes: Float[np.ndarray, " f"], ess: float
) -> tuple[float, float]:
    value = float(values.mean())
    if len(values) == 1:
        return wilson(value, float(sizes[0]))
    if value <= 0.0:
        return 0.0, largest_unseen_mean(sizes)
    if value >= 1.0:
        return 1 - largest_unseen_mean(sizes), 1.0
    return wilson(value, ess)


def bootstrap_mean(
    values: Float[np.ndarray, " f"], rng: np.random.Generator
) -> tuple[float, float]:
    """A 95 % interval of a mean: percentile bootstrap, widened for few values.

    By sqrt(f / (f - 1)), which the variance of resampling lacks, and by Student's quantile of f - 1
    degrees of freedom over the normal one (Hesterberg 2015). Raises: ValueError for one value.
    """
    f = len(values)
    if f < 2:
        raise ValueError("a bootstrap needs at least two values")
    draws = rng.integers(f, size=(N_BOOTSTRAP, f))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    center = float(values.mean())
    scale = math.sqrt(f / (f - 1)) * float(special.stdtrit(f - 1, 0.975)) / Z_95
    return center + scale * (float(low) - center), center + scale * (float(high) - center)


def difference_over_edits(
    first: Sequence[float], second: Sequence[float], rng: np.random.Generator
) -> Estimate:
    """Mean of first - second, rates of the same edits, with a bootstrap interval over edits.

    One edit, and edits of one difference, have no interval: nothing shows how they vary.
    Raises: ValueError for different numbers of edits.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} rates: must be of the same edits")
    n = len(first)
    if n == 0:
        return Estimate.missing("no estimate: no edit has a rate for both")
    values = np.subtract(first, second, dtype=np.float64)
    value = float(values.mean())
    if n == 1 or float(np.ptp(values)) == 0:
        note = "one edit: no interval" if n == 1 else "all edits have one difference: no interval"
        return Estimate(value=value, low=None, high=None, n=n, ess=float(n), note=note)
    low, high = bootstrap_mean(values, rng)
    return Estimate(value=value, low=max(-1.0, low), high=min(1.0, high), n=n, ess=float(n))


def unseen_mass(
    weights: Float[np.ndarray, " n"],
    log_p_ref: Float[np.ndarray, " n"],
    failing: Bool[np.ndarray, " n"],
) -> Estimate:
    """Of the reference's failing questions, the share that was not drawn; of any edits together.

    weights, log_p_ref: of all draws, failing or not, in nats.

    The failing questions drawn have mass D = Σ p_ref, which is known. The others have U, and
    Σ w (1 - pi) = Σ (w - p_ref) over the drawn ones is an unbiased estimate of U: that of Good and
    Turing for draws without replacement (for small probabilities it is the number of failing
    questions over n). The share is U / (D + U), its interval that of U (Fay and Feuer 1997), with
    the variance Σ w² (1 - pi) and one more question of the largest weight for the upper bound.
    """
    drawn = weights > 0
    weights, failing = weights[drawn], failing[drawn]
    n = int(np.sum(failing))
    if n == 0:
        return Estimate.missing("no estimate: no failing question was drawn")
    included = inclusion(weights, log_p_ref[drawn])
    largest = float(np.max(unlikely_weights(weights, included)))
    inside, missed = weights[failing], 1 - included[failing]
    seen, unseen = float(np.sum(inside * (1 - missed))), float(np.sum(inside * missed))
    low, high = gamma_interval(unseen, float(np.sum(np.square(inside) * missed)), largest)
    return Estimate(
        value=unseen / (seen + unseen),
        low=low / (seen + low),
        high=high / (seen + high),
        n=n,
        ess=effective(inside),
    )


def pre_post_matrix(
    weights: Float[np.ndarray, " n"], pre: Sequence[str], post: Sequence[str]
) -> tuple[tuple[float, ...], ...]:
    """Weighted shares of verdicts, pre (rows) by post (columns) in the order of `VERDICTS`.

    They add up to 1; all are 0 without weight. Raises: ValueError for an unknown verdict.
    """
    counts = np.zeros((len(VERDICTS), len(VERDICTS)))
    rows = [VERDICTS.index(verdict) for verdict in pre]
    columns = [VERDICTS.index(verdict) for verdict in post]
    np.add.at(counts, (rows, columns), weights)
    total = float(np.sum(weights))
    shares = counts / total if total > 0 else counts
    return tuple(tuple(map(float, line)) for line in shares)


def weight_problem(total: Sequence[float]) -> str:
    """Why weights cannot be trusted, or "": the edits' sums must have mean 1.

    total: Σ w of each edit. Reasons are a mean outside 0.5 … 2; one off by more than a fifth that
    chance explains with less than 1 % (Student's t); and sums with a standard deviation above 1.25:
    n draws of the reference keep it near 1 / sqrt(n) or below. Few sums, of draws that do not cover
    the reference, can still look right: the sound remedy is to draw from it.
    """
    if not total:
        return "no estimate: nothing was drawn"
    mean = float(np.mean(total))
    spread = float(np.std(total, ddof=1)) if len(total) > 1 else 0.0
    low, high = MEAN_WEIGHT_RANGE
    if not low <= mean <= high or _is_off(mean, spread, len(total)):
        found = f"have mean {mean:.2f} where 1 is due"
    elif spread > MAX_SPREAD:
        found = f"of an edit add up to {mean:.2f} ± {spread:.2f}, too uneven for a mean of 1"
    else:
        return ""
    return (
        f"no estimate: the weights {found}, so the draws do not cover the reference; draw more "
        "(n=), or use run=untrained"
    )


def _is_off(mean: float, spread: float, n: int) -> bool:
    if n < 2 or abs(mean - 1) <= 0.2:
        return False
    return abs(mean - 1) > float(special.stdtrit(n - 1, 0.995)) * spread / math.sqrt(n)


def student_mean(values: Sequence[float], n: int) -> Estimate:
    """The mean of per-edit numbers that are no shares, with Student's interval over edits."""
    if not values:
        return Estimate.missing("no estimate: no edit has one")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Estimate(value=mean, low=None, high=None, n=n, ess=1.0, note="one edit: no interval")
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    spread = float(special.stdtrit(len(values) - 1, 0.975)) * error
    return Estimate(value=mean, low=mean - spread, high=mean + spread, n=n, ess=float(len(values)))
