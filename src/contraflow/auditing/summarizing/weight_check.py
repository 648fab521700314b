"""What the rates rest on: the weights of all draws, and whether the sampler seeks failures.

The rate of an edit is a ratio of weighted sums. Where most of what a sampler draws fails, and few
questions of an edit are known, what succeeds is hardly drawn, and the ratio is too high in every
edit. The mean over edits keeps that; the ratio of all edits' sums hardly has it (separate and
combined ratio estimates; Cochran 1977, sections 6.10 to 6.12), but it weighs edits by what is known
of them. So the mean stays the estimate, and the other ratio is named where it matters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from contraflow.auditing.outcome.result import WeightCheck
from contraflow.auditing.outcome.rows import PRIOR, SAMPLER, Row
from contraflow.auditing.statistics.estimates import effective
from contraflow.evaluation.bootstrap import Z_95

N_BINS = 20
MIN_SEEKING = 0.15  # by so much more of the sampler's known questions must fail
ENOUGH_KNOWN = 10.0  # effective known questions of an edit, from which the bias is small


def weight_sums(rows: Mapping[str, Sequence[Row]]) -> list[float]:
    """Σ w of each edit with draws; its expectation is 1."""
    sums = [sum(row.weight for row in of_edit if row.is_draw) for of_edit in rows.values()]
    return [total for total in sums if total > 0]


def seeking(rows: Mapping[str, Sequence[Row]]) -> str:
    """What to bear in mind where the sampler seeks failures and few questions are known, or ""."""
    known = [[row for row in of_edit if row.is_draw and row.is_known] for of_edit in rows.values()]
    known = [of_edit for of_edit in known if of_edit]
    ours = [row.fails for of_edit in known for row in of_edit if SAMPLER in row.sources]
    prior = [row.fails for of_edit in known for row in of_edit if PRIOR in row.sources]
    if not ours or not prior:
        return ""
    on, off = float(np.mean(ours)), float(np.mean(prior))
    share = float(np.mean([*ours, *prior]))
    error = math.sqrt(share * (1 - share) * (1 / len(ours) + 1 / len(prior)))
    sizes = [effective(np.array([row.weight for row in of_edit])) for of_edit in known]
    if on - off < max(MIN_SEEKING, Z_95 * error) or float(np.mean(sizes)) >= ENOUGH_KNOWN:
        return ""
    draws = [row for of_edit in known for row in of_edit]
    together = sum(row.weight for row in draws if row.fails) / sum(row.weight for row in draws)
    return (
        f"the sampler prefers failing questions ({on:.0%} of its known ones fail, {off:.0%} of the "
        "untrained sampler's), and few are known of an edit, so the mean over edits is too high; "
        f"all edits' questions together have an edit failure of {together:.0%}. Raise n=, or take "
        "rates from run=shipped or run=untrained"
    )


def weight_check(rows: Mapping[str, Sequence[Row]], problem: str) -> WeightCheck:
    """Sums of weights per edit, effective sample sizes, and a histogram of log10 of the weights.

    A person's own questions are no sample whose weights must have mean 1.

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
