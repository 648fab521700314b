"""Rates with intervals from weighted questions of one edit.

A rate is a ratio of weighted sums: of the questions that the control answers with the original
answer, the share in which the edited model fails. With V = Σ u² (1 - pi), u = w / Σ w, and V_hit
the part of the hits, (R + V_hit) / (1 + V) is Beale's ratio (1962): of the plain ratio R the part
of the bias that is of order 1/n is taken away. It matters where the sampler seeks failures: what
succeeds is then drawn seldom, with large weights.

The interval is Wilson's at an effective number of trials n_eff, which is R (1 - R) / V_R (Korn and
Graubard 1998) with the linearized Horvitz-Thompson variance V_R = Σ u² (1 - pi) (h - R)²: the terms
of one sample are uncorrelated (Duffield, Lund and Thorup 2007), those of two samples nearly so. Few
hits say little about V_R, so R and V_R are taken with two more hits and two more misses (Agresti
and Coull 1998) of the largest weight m that a question of little probability can have, drawn or
not. Then n_eff is never below 1 / m, the number of equal draws that would have no smaller variance,
and equals n for n equal weights. Where all questions or none are hits, the bound is that of
`one_sided.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import special

from contraflow.auditing.outcome.result import VERDICTS, Estimate
from contraflow.auditing.statistics.one_sided import lower_bound
from contraflow.auditing.statistics.spread import (
    Spread,
    gamma_interval,
    inclusion,
    unlikely_weights,
)
from contraflow.evaluation.bootstrap import Z_95

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
    largest_unseen: the largest weight that a question which was not drawn can have. Where all that
        was drawn is likely, nothing else tells how much unlikely questions may weigh: they can be
        as much as the reference alone would have drawn, and all of them hits, or none.
    """
    counted = counted & (weights > 0)
    n = int(np.sum(counted))
    if n == 0:
        return Estimate.missing("no estimate: no question that the control answers")
    inside, is_hit = weights[counted], hit[counted]
    included, possible = np.zeros(n), inside
    if log_p_ref is not None:
        included = inclusion(inside, log_p_ref[counted])
        possible = unlikely_weights(inside, included)
    is_one_sided = bool(is_hit.all()) or not bool(is_hit.any())
    largest = float(np.max(possible))
    if largest_unseen is not None:
        largest = max(largest, largest_unseen)
    total = float(np.sum(inside))
    spreads = np.square(inside / total) * (1 - included)
    spread = Spread(
        hits=float(np.sum(spreads * is_hit)),
        misses=float(np.sum(spreads * ~is_hit)),
        largest=largest / total,
    )
    plain = float(np.sum(inside * is_hit)) / total
    value = float(is_hit[0]) if is_one_sided else _ratio(plain, spread)
    ess = spread.n_effective(value)
    low, high = wilson(value, ess)
    if is_one_sided:
        bound = lower_bound(inside, included, largest)
        low, high = (bound, 1.0) if is_hit[0] else (0.0, 1 - bound)
    return Estimate(value=value, low=low, high=high, n=n, ess=ess)


def _ratio(plain: float, spread: Spread) -> float:
    """Beale's ratio."""
    return min(1.0, (plain + spread.hits) / (1 + spread.hits + spread.misses))


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
        found = f"of an edit add up to {mean:.2f} on average where 1 is due"
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
