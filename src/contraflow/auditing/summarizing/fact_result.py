"""The result of one edit: its rates, what its own prompt gives, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from contraflow.auditing.asking.evidence import AskedPrompt
from contraflow.auditing.asking.standing import Standing
from contraflow.auditing.outcome.result import Estimate, FactResult
from contraflow.auditing.outcome.rows import OWN, Row
from contraflow.auditing.statistics.estimates import rate
from contraflow.auditing.statistics.spread import inclusion
from contraflow.auditing.summarizing.discovery import Modes, shown_modes

MIN_TO_CONTRADICT = 2


def fact_result(
    standing: Standing,
    prompt: AskedPrompt,
    rows: Sequence[Row],
    modes: Modes,
    largest_unseen: float | None,
) -> FactResult:
    """Compute the numbers of one edit from its rows in the headline's style."""
    fact = standing.edit.fact
    draws = [row for row in rows if row.is_draw]
    distinct = list({row.question: row for row in rows}.values())
    no_estimate = Estimate.missing(f"no estimate: {standing.why_not}")
    failure = edit_failure(draws, largest_unseen) if standing.is_counted else no_estimate
    residual = residual_belief(draws, largest_unseen) if standing.is_counted else no_estimate
    return FactResult(
        fact_id=fact.fact_id,
        subject=fact.subject,
        edit_fact=fact.edit_fact,
        original_answer=standing.original_answer,
        edited_answer=fact.edited_answer,
        original_from=standing.original_from,
        counted=standing.is_counted,
        why_not=standing.why_not,
        asked=prompt.verdict,
        asked_answer=prompt.answer,
        forced=prompt.forced,
        n_asked=len(distinct),
        n_known=sum(row.is_known for row in distinct),
        n_failing=sum(row.fails for row in distinct),
        n_residual=sum(row.is_residual for row in distinct),
        edit_failure=failure,
        residual_belief=residual,
        self_contradiction=self_contradiction(draws) if standing.is_counted else None,
        modes=shown_modes(rows, modes),
    )


def edit_failure(draws: Sequence[Row], largest_unseen: float | None = None) -> Estimate:
    """Share of the questions that the control answers with OLD in which the edit fails."""
    return _rate(draws, [row.fails for row in draws], largest_unseen)


def residual_belief(draws: Sequence[Row], largest_unseen: float | None = None) -> Estimate:
    """Share of the questions that the control answers with OLD in which both say OLD."""
    return _rate(draws, [row.is_residual for row in draws], largest_unseen)


def self_contradiction(draws: Sequence[Row]) -> float | None:
    """How often one of two independent sound questions gets NEW and the other OLD.

    2 · p(NEW) · p(OLD), estimated over pairs of different draws (a U-statistic, Hoeffding 1948):
    the product of the two estimated shares would be too small, by 1/n with n equal draws. The pairs
    have Σ w_i w_j = (Σ w)² - Σ w² (1 - pi), in which a question that is surely drawn pairs with
    itself. None for fewer than two sound questions.
    """
    sound = [row for row in draws if row.sound]
    if len(sound) < MIN_TO_CONTRADICT:
        return None
    weights = _weights(sound)
    log_p = _log_p(sound)
    missed = 1.0 if log_p is None else 1 - inclusion(weights, log_p)
    pairs = float(weights.sum() ** 2 - np.sum(np.square(weights) * missed))
    new, old = (
        float(weights[_mask([row.post == verdict for row in sound])].sum())
        for verdict in ("NEW", "OLD")
    )
    return 2 * new * old / pairs if pairs > 0 else None


def alone(
    first: Sequence[Row],
    second: Sequence[Row],
    hit: Callable[[Row], bool],
    largest_unseen: float | None = None,
) -> Estimate:
    """Share of the known questions in which the first model is hit and the second is not.

    first, second: the draws of one edit, the same questions in the same order.
    """
    pairs = zip(first, second, strict=True)
    return _rate(first, [hit(a) and not hit(b) for a, b in pairs], largest_unseen)


def _rate(draws: Sequence[Row], hit: Sequence[bool], largest_unseen: float | None) -> Estimate:
    weights, known, is_hit = _weights(draws), _known(draws), _mask(hit)
    if draws and all(OWN in row.sources for row in draws):
        # Each time that a person's own question is given is a draw of what is asked there.
        times = weights.round().astype(int)
        weights = np.ones(times.sum())
        known, is_hit = known.repeat(times), is_hit.repeat(times)
    return rate(weights, known, is_hit, _log_p(draws), largest_unseen)


def _log_p(rows: Sequence[Row]) -> Float[np.ndarray, " n"] | None:
    """log P_Q of each question; None for a person's own, which have no probability."""
    log_p = [row.log_p_prior for row in rows if row.log_p_prior is not None]
    return np.array(log_p, dtype=np.float64) if len(log_p) == len(rows) else None


def _weights(rows: Sequence[Row]) -> Float[np.ndarray, " n"]:
    return np.array([row.weight for row in rows], dtype=np.float64)


def _known(rows: Sequence[Row]) -> Bool[np.ndarray, " n"]:
    return _mask([row.is_known for row in rows])


def _mask(values: Sequence[bool]) -> Bool[np.ndarray, " n"]:
    return np.array(values, dtype=bool)
