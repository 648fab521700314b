"""From the rows of an edited model to its rates: `ModelResult`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np

from contraflow.auditing.asking.evidence import Evidence
from contraflow.auditing.asking.gates import collapse_gate
from contraflow.auditing.outcome.result import (
    VERDICTS,
    Difference,
    Estimate,
    FactResult,
    ModelResult,
    SourceYield,
    StyleRate,
)
from contraflow.auditing.outcome.rows import OWN, SAMPLER, Row
from contraflow.auditing.statistics.estimates import (
    pre_post_matrix,
    proportion,
    unseen_mass,
    weight_problem,
)
from contraflow.auditing.statistics.over_edits import (
    difference_over_edits,
    gap_over_edits,
    mean_of_shares,
    mean_over_edits,
)
from contraflow.auditing.summarizing.continuations import continuations
from contraflow.auditing.summarizing.discovery import (
    FAILURE_SOURCES,
    compared,
    failing_modes,
    source_yield,
)
from contraflow.auditing.summarizing.fact_result import (
    alone,
    edit_failure,
    fact_result,
    residual_belief,
)
from contraflow.auditing.summarizing.modes import Embed
from contraflow.auditing.summarizing.weight_check import seeking, weight_check, weight_sums
from contraflow.seeding import derived_seed

# Why nothing is known of the new answers behind the edits' own prompts.
NOT_READ = "no log-probabilities of given answers; the gap is of free ones"
NO_PROMPT = "no edit has a prompt of its own"

RowsOfEdits = Mapping[str, Sequence[Row]]
Hit = Callable[[Row], bool]


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
    of_counted = _of_counted(evidence, rows)
    sources = [source_yield(source, of_counted, modes, _rng()) for source in FAILURE_SOURCES]
    asked_sources = [source.source for source in sources if source.n_asked]
    degenerate = proportion(*evidence.degenerate)
    contradictions = [f.self_contradiction for f in counted if f.self_contradiction is not None]
    forced = [fact.forced for fact in facts if fact.forced is not None]
    asked = [fact.asked == "NEW" for fact in facts if fact.asked and fact.edited_answer]
    return ModelResult(
        model=evidence.model,
        n_facts=len(counted),
        edit_failure=_over_edits([fact.edit_failure for fact in counted], problem),
        residual_belief=_over_edits([fact.residual_belief for fact in counted], problem),
        audit_gap=_gap(facts, problem),
        discovery=_discovery(sources),
        asked_forced=mean_of_shares(forced, len(forced), none=NOT_READ if asked else NO_PROMPT),
        asked_free=proportion(sum(asked), len(asked)),
        self_contradiction=mean_of_shares(contradictions, len(contradictions)),
        unseen_failures=_unseen(rows, problem),
        degenerate=degenerate,
        matrix=_counts(of_counted),
        weighted_matrix=_shares(rows),
        styles=tuple(_style_rate(evidence, style) for style in styles),
        sources=tuple(source for source in sources if source.n_asked),
        probes=evidence.probes,
        weights=weight_check(rows, problem),
        facts=facts,
        gates=(*evidence.gates, collapse_gate(evidence.rows, degenerate.value, degenerate.n)),
        comparisons=tuple(
            compared(asked_sources[0], other, of_counted, modes, _rng())
            for other in asked_sources[1:]
        ),
        continuations=continuations(evidence.standings, rows),
        warnings=tuple(filter(None, [problem or seeking(rows)])),
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
        edit_failure=_paired(*rows, lambda row: row.fails, first.largest_unseen, problem),
        residual_belief=_paired(*rows, lambda row: row.is_residual, first.largest_unseen, problem),
    )


def _paired(
    first: RowsOfEdits,
    second: RowsOfEdits,
    hit: Hit,
    largest_unseen: Mapping[str, float | None],
    problem: str,
) -> Estimate:
    if problem:
        return Estimate.missing(problem)
    pairs = [
        (_draws(first[key]), _draws(second[key]), largest_unseen.get(key))
        for key in first
        if key in second
    ]
    return difference_over_edits(
        [alone(a, b, hit, unseen) for a, b, unseen in pairs],
        [alone(b, a, hit, unseen) for a, b, unseen in pairs],
        _rng(),
    )


def _of_style(evidence: Evidence, style: str) -> dict[str, list[Row]]:
    """The rows of each edit in one style; texts to be continued belong to every style."""
    rows: dict[str, list[Row]] = {}
    for row in evidence.rows:
        if row.style in (style, "completion"):
            rows.setdefault(row.fact_key, []).append(row)
    return rows


def _of_counted(evidence: Evidence, rows: RowsOfEdits) -> dict[str, Sequence[Row]]:
    """The rows of the edits that the numbers are about."""
    counted = {s.edit.fact.key for s in evidence.standings if s.is_counted}
    return {key: of_edit for key, of_edit in rows.items() if key in counted}


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
    return mean_over_edits(rates)


def _gap(facts: Sequence[FactResult], problem: str) -> Estimate:
    """Asked-prompt success - (1 - edit failure), over the counted edits that have both.

    The success is teacher-forced, as papers report it; free where nobody can read that.
    """
    if problem:
        return Estimate.missing(problem)
    both = [f for f in facts if f.counted and f.asked and f.edit_failure.value is not None]
    asked = [f.forced if f.forced is not None else float(f.asked == "NEW") for f in both]
    return gap_over_edits(asked, [fact.edit_failure for fact in both], _rng())


def _discovery(sources: Sequence[SourceYield]) -> Estimate:
    """The yield of a person's own questions, or of the trained sampler, or of the first source."""
    asked = [source for source in sources if source.n_asked]
    if not asked:
        return Estimate.missing("no estimate: nothing was asked")
    of_source = {source.source: source.per_100 for source in reversed(asked)}
    return of_source.get(OWN) or of_source.get(SAMPLER) or asked[0].per_100


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
    """Of all sound questions, whatever their source; the rows hold a text of an edit once."""
    pairs = [(row.pre, row.post) for of_edit in rows.values() for row in of_edit if row.sound]
    return tuple(tuple(pairs.count((pre, post)) for post in VERDICTS) for pre in VERDICTS)


def _shares(rows: RowsOfEdits) -> tuple[tuple[float, ...], ...]:
    sound = [row for row in _all_draws(rows) if row.sound]
    weights = np.array([row.weight for row in sound], dtype=np.float64)
    return pre_post_matrix(weights, [row.pre for row in sound], [row.post for row in sound])


def _style_rate(evidence: Evidence, style: str) -> StyleRate:
    rows = _of_style(evidence, style)
    draws = [
        (_draws(of_edit), evidence.largest_unseen.get(key))
        for key, of_edit in _of_counted(evidence, rows).items()
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
