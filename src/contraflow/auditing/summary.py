"""From the rows of an edited model to its rates: `ModelResult`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np

from contraflow.auditing.discovery import FAILURE_SOURCES, failing_modes, source_yield
from contraflow.auditing.estimates import (
    difference_over_edits,
    mean_over_edits,
    pre_post_matrix,
    proportion,
    student_mean,
    unseen_mass,
    weight_problem,
)
from contraflow.auditing.evidence import Evidence
from contraflow.auditing.fact_result import edit_failure, fact_result, residual_belief
from contraflow.auditing.gates import collapse_gate
from contraflow.auditing.modes import Embed
from contraflow.auditing.result import (
    VERDICTS,
    Difference,
    Estimate,
    FactResult,
    ModelResult,
    SourceYield,
    StyleRate,
)
from contraflow.auditing.rows import SAMPLER, Row
from contraflow.auditing.weight_check import weight_check, weight_sums
from contraflow.seeding import derived_seed

RowsOfEdits = Mapping[str, Sequence[Row]]
Rate = Callable[[Sequence[Row]], Estimate]


def summarize(evidence: Evidence, styles: Sequence[str], embed: Embed | None) -> ModelResult:
    """Compute every number of one edited model; the headline is of the first style."""
    rows = _of_style(evidence, styles[0])
    modes = {key: failing_modes(of_edit, embed) for key, of_edit in rows.items()}
    unseen = evidence.largest_unseen
    facts = tuple(
        fact_result(standing, prompt, rows.get(key, ()), modes.get(key, {}), unseen.get(key))
        for standing, prompt in zip(evidence.standings, evidence.prompts, strict=True)
        for key in [standing.edit.fact.key]
    )
    problem = _problem(rows)
    counted = [fact for fact in facts if fact.counted]
    sources = [source_yield(source, rows, modes) for source in FAILURE_SOURCES]
    degenerate = proportion(*evidence.degenerate)
    contradictions = [f.self_contradiction for f in counted if f.self_contradiction is not None]
    forced = [fact.forced for fact in facts if fact.forced is not None]
    asked = [fact.asked == "NEW" for fact in facts if fact.asked]
    return ModelResult(
        model=evidence.model,
        n_facts=len(counted),
        edit_failure=_over_edits([fact.edit_failure for fact in counted], problem),
        residual_belief=_over_edits([fact.residual_belief for fact in counted], problem),
        audit_gap=_gap(facts, problem),
        discovery=_discovery(sources),
        asked_forced=student_mean(forced, len(forced)),
        asked_free=proportion(sum(asked), len(asked)),
        self_contradiction=student_mean(contradictions, len(contradictions)),
        unseen_failures=_unseen(rows, problem),
        degenerate=degenerate,
        matrix=_counts(rows),
        weighted_matrix=_shares(rows),
        styles=tuple(_style_rate(evidence, style) for style in styles),
        sources=tuple(source for source in sources if source.n_asked),
        probes=evidence.probes,
        weights=weight_check(rows, problem),
        facts=facts,
        gates=(*evidence.gates, collapse_gate(evidence.rows, degenerate.value, degenerate.n)),
        warnings=(problem,) if problem else (),
    )


def differences(evidence: Sequence[Evidence], style: str) -> tuple[Difference, ...]:
    """Paired differences of every two edited models, on the edits that both have rates for."""
    return tuple(_difference(a, b, style) for a, b in combinations(evidence, 2))


def _difference(first: Evidence, second: Evidence, style: str) -> Difference:
    rows = _of_style(first, style), _of_style(second, style)
    problem = _problem(rows[0]) or _problem(rows[1])
    return Difference(
        first=first.model.name,
        second=second.model.name,
        edit_failure=_paired(*rows, edit_failure, problem),
        residual_belief=_paired(*rows, residual_belief, problem),
    )


def _paired(first: RowsOfEdits, second: RowsOfEdits, rate: Rate, problem: str) -> Estimate:
    if problem:
        return Estimate.missing(problem)
    pairs = [
        (rate(_draws(first[key])).value, rate(_draws(second[key])).value)
        for key in first
        if key in second
    ]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return difference_over_edits([a for a, _ in known], [b for _, b in known], _rng())


def _of_style(evidence: Evidence, style: str) -> dict[str, list[Row]]:
    """The rows of each edit in one style; texts to be continued belong to every style."""
    rows: dict[str, list[Row]] = {}
    for row in evidence.rows:
        if row.style in (style, "completion"):
            rows.setdefault(row.fact_key, []).append(row)
    return rows


def _draws(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.is_draw]


def _all_draws(rows: RowsOfEdits) -> list[Row]:
    return [row for of_edit in rows.values() for row in _draws(of_edit)]


def _problem(rows: RowsOfEdits) -> str:
    """Why the weights give no estimate, or "". A person's own questions have none to check."""
    draws = _all_draws(rows)
    if draws and all(row.log_p_prior is None for row in draws):
        return ""
    return weight_problem(weight_sums(rows))


def _over_edits(rates: Sequence[Estimate], problem: str) -> Estimate:
    if problem:
        return Estimate.missing(problem, len(rates))
    return mean_over_edits(rates, _rng())


def _gap(facts: Sequence[FactResult], problem: str) -> Estimate:
    """Asked-prompt success - (1 - edit failure), over the counted edits that have both.

    The success is teacher-forced, as papers report it; free where nobody can read that.
    """
    if problem:
        return Estimate.missing(problem)
    asked, kept = [], []
    for fact in facts:
        success = fact.forced if fact.forced is not None else float(fact.asked == "NEW")
        if fact.counted and fact.asked and fact.edit_failure.value is not None:
            asked.append(success)
            kept.append(1 - fact.edit_failure.value)
    return difference_over_edits(asked, kept, _rng())


def _discovery(sources: Sequence[SourceYield]) -> Estimate:
    """The yield of the trained sampler; of the first source that was asked without one."""
    asked = [source for source in sources if source.n_asked]
    if not asked:
        return Estimate.missing("no estimate: nothing was asked")
    return next((s.per_100 for s in asked if s.source == SAMPLER), asked[0].per_100)


def _unseen(rows: RowsOfEdits, problem: str) -> Estimate:
    draws = _all_draws(rows)
    if problem or any(row.log_p_prior is None for row in draws):
        return Estimate.missing(problem or "no estimate: a person's own questions are no sample")
    return unseen_mass(
        np.array([row.weight for row in draws], dtype=np.float64),
        np.array([row.log_p_prior for row in draws], dtype=np.float64),
        np.array([row.fails for row in draws], dtype=bool),
    )


def _counts(rows: RowsOfEdits) -> tuple[tuple[int, ...], ...]:
    draws = _all_draws(rows)
    pairs = [(row.pre, row.post) for row in draws if row.sound]
    return tuple(tuple(pairs.count((pre, post)) for post in VERDICTS) for pre in VERDICTS)


def _shares(rows: RowsOfEdits) -> tuple[tuple[float, ...], ...]:
    sound = [row for row in _all_draws(rows) if row.sound]
    weights = np.array([row.weight for row in sound], dtype=np.float64)
    return pre_post_matrix(weights, [row.pre for row in sound], [row.post for row in sound])


def _style_rate(evidence: Evidence, style: str) -> StyleRate:
    counted = {s.edit.fact.key for s in evidence.standings if s.is_counted}
    rows = _of_style(evidence, style)
    draws = [
        (_draws(of_edit), evidence.largest_unseen.get(key))
        for key, of_edit in rows.items()
        if key in counted
    ]
    problem = _problem(rows)
    return StyleRate(
        style=style,
        edit_failure=_over_edits([edit_failure(*of_edit) for of_edit in draws], problem),
        residual_belief=_over_edits([residual_belief(*of_edit) for of_edit in draws], problem),
    )


def _rng() -> np.random.Generator:
    """Every bootstrap draws the same edits, so that intervals do not change from run to run."""
    return np.random.default_rng(derived_seed("audit", "bootstrap"))
