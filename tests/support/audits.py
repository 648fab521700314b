"""Results of audits with made-up but consistent content, for the tests of their reports.

Questions and answers are drawn at random; every count and rate follows from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from contraflow.auditing.outcome.result import (
    VERDICTS,
    AuditResult,
    Difference,
    Estimate,
    FactResult,
    FailureMode,
    Gate,
    ModelInfo,
    ModelResult,
    ProbeRate,
    SourceComparison,
    SourceYield,
    StyleRate,
    WeightCheck,
)
from contraflow.auditing.outcome.rows import ADAPTED, PARAPHRASE, PRIOR, SAMPLER, Row
from contraflow.auditing.statistics.estimates import effective, proportion, rate
from contraflow.auditing.statistics.over_edits import mean_of_shares, mean_over_edits
from support.audit_rows import made_fact, made_rows

NAMES = ("rome", "lora", "one-layer")
FAILS = (0.35, 0.65, 0.9)  # how often each edited model fails, on average
SOURCES = (SAMPLER, PRIOR, PARAPHRASE, ADAPTED)
MADE = "2026-07-01T12:00:00+00:00"


@dataclass(frozen=True)
class MadeAudit:
    """A result with the rows that it summarizes."""

    result: AuditResult
    rows: list[Row]


def made_result(n_models: int = 1, n_edits: int = 3, seed: int = 0) -> AuditResult:
    """A realistic result; the last of four or more edits is not known to the control."""
    return made_audit(n_models, n_edits, seed).result


def made_audit(n_models: int = 1, n_edits: int = 3, seed: int = 0) -> MadeAudit:
    """The same with its rows."""
    rng = np.random.default_rng(seed)
    rows = [_rows(NAMES[m], FAILS[m], n_edits, rng) for m in range(n_models)]
    models = tuple(_model(NAMES[m], of_model, n_edits) for m, of_model in enumerate(rows))
    result = AuditResult(
        contraflow="0.1.0",
        made=MADE,
        settings={"run": "shipped", "n": "16", "ask": "few_shot,bare", "seed": "0"}
        | {"adapt_steps": "12", "neighbors": "shipped"},
        edits="edits/dozen.jsonl",
        n_edits=n_edits,
        control=ModelInfo(name="control", source="packaged:smollm2-135m-instruct", identity="c0"),
        sampler="shipped",
        models=models,
        differences=_differences(models, rng),
        notes=("1 of the edits has no original answer in the file; the control's is used",),
    )
    return MadeAudit(result, [row for of_model in rows for row in of_model])


def _is_counted(number: int, n_edits: int) -> bool:
    return n_edits < 4 or number < n_edits - 1


def _rows(name: str, fails: float, n_edits: int, rng: np.random.Generator) -> list[Row]:
    counted = [i for i in range(n_edits) if _is_counted(i, n_edits)]
    return [row for i in counted for row in made_rows(name, i, rng.beta(2, 2 / fails - 2), rng)]


def _rate(rows: Sequence[Row], hit: Callable[[Row], bool]) -> Estimate:
    draws = [row for row in rows if row.is_draw]
    return rate(
        np.array([row.weight for row in draws]),
        np.array([row.is_known for row in draws], dtype=bool),
        np.array([hit(row) for row in draws], dtype=bool),
    )


def _fact_result(number: int, rows: Sequence[Row], counted: bool) -> FactResult:
    subject, old, new, stem = made_fact(number)
    missing = Estimate.missing("no estimate: the control does not tell the original answer")
    # Some edits have no prompt of their own.
    asked = "" if number % 8 == 7 else "OTHER" if number % 4 == 2 else "NEW"
    return FactResult(
        fact_id=f"fact-{number}",
        subject=subject,
        edit_fact=f"{stem} {new}.",
        original_answer=old,
        edited_answer=new,
        original_from="control" if number % 5 == 1 else "file",
        counted=counted,
        why_not="" if counted else "the control does not tell the original answer",
        asked=asked,
        asked_answer={"NEW": f"{new}.", "OTHER": "a town in Belgium"}.get(asked, ""),
        forced={"NEW": 1.0, "OTHER": 0.5}.get(asked),
        n_asked=len(rows),
        n_known=sum(row.is_known for row in rows),
        n_failing=sum(row.fails for row in rows),
        n_residual=sum(row.is_residual for row in rows),
        edit_failure=_rate(rows, lambda row: row.fails) if counted else missing,
        residual_belief=_rate(rows, lambda row: row.is_residual) if counted else missing,
        self_contradiction=0.2 if counted else None,
        modes=_modes(rows),
    )


def _modes(rows: Sequence[Row]) -> tuple[FailureMode, ...]:
    """The wordings of one opening are one mode."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.fails:
            groups.setdefault(row.question[:12], []).append(row)
    modes = [
        FailureMode(
            question=group[0].question,
            pre_answer=group[0].pre_answer,
            post_answer=group[0].post_answer,
            post=group[0].post,
            n_questions=len(group),
            questions=tuple(row.question for row in group),
        )
        for group in groups.values()
    ]
    return tuple(sorted(modes, key=lambda mode: -mode.n_questions))


def _source(source: str, rows: Sequence[Row]) -> SourceYield:
    asked = [row for row in rows if source in row.sources]
    n_failing = sum(row.fails for row in asked)
    n_modes = len({(row.fact_key, row.question[:12]) for row in asked if row.fails})
    share = proportion(n_failing, len(asked))
    at = [round(v) for v in np.linspace(0, len(asked), 9)]
    return SourceYield(
        source=source,
        n_asked=len(asked),
        n_failing=n_failing,
        n_modes=n_modes,
        per_100=Estimate(
            value=100 * (share.value or 0),
            low=100 * (share.low or 0),
            high=100 * (share.high or 0),
            n=share.n,
            ess=share.ess,
        ),
        asked=tuple(at),
        failing=tuple(n_failing * n / max(1, len(asked)) for n in at),
        modes=tuple(n_modes * (n / max(1, len(asked))) ** 0.8 for n in at),
        failing_low=tuple(0.7 * n_failing * n / max(1, len(asked)) for n in at),
        failing_high=tuple(1.3 * n_failing * n / max(1, len(asked)) for n in at),
    )


def _comparison(first: SourceYield, second: SourceYield) -> SourceComparison:
    at = min(first.n_asked, second.n_asked)
    value = at * (first.n_failing / first.n_asked - second.n_failing / second.n_asked)
    return SourceComparison(
        first=first.source,
        second=second.source,
        at=at,
        failing=Estimate(value=value, low=value - 5, high=value + 5, n=at, ess=at),
        modes=Estimate(value=1.0, low=None, high=None, n=at, ess=at, note="few edits"),
    )


def _probe(kind: str, right: int, kept: int, gained: int, n: int) -> ProbeRate:
    return ProbeRate(
        kind=kind,
        n=n,
        pre=proportion(right, n),
        post=proportion(kept + gained, n),
        kept=proportion(kept, right),
        lost=tuple(
            (f"What is the capital of country number {i}?", f"It is city {i}.", "It is Bergen.")
            for i in range(min(right - kept, 20))
        ),
    )


def _weights(rows: Sequence[Row]) -> WeightCheck:
    weights = np.array([row.weight for row in rows if row.is_draw])
    failing = np.array([row.weight for row in rows if row.is_draw and row.fails])
    counts, edges = np.histogram(np.log10(weights), bins=20)
    return WeightCheck(
        mean=float(weights.mean()),
        standard_error=float(weights.std() / len(weights) ** 0.5),
        ess=effective(weights),
        ess_failing=effective(failing),
        n=len(weights),
        largest_share=float(weights.max() / weights.sum()),
        edges=tuple(map(float, edges)),
        counts=tuple(map(int, counts)),
    )


def _matrix(rows: Sequence[Row], weigh: Callable[[Row], float]) -> list[list[float]]:
    return [
        [sum(weigh(r) for r in rows if (r.pre, r.post) == (pre, post)) for post in VERDICTS]
        for pre in VERDICTS
    ]


def _gap(forced: Estimate, failure: Estimate, n_edits: int) -> Estimate:
    if forced.value is None or failure.value is None:
        return Estimate.missing(failure.note)
    value = forced.value - 1 + failure.value
    return Estimate(value=value, low=value - 0.1, high=value + 0.1, n=n_edits, ess=n_edits)


def _model(name: str, rows: Sequence[Row], n_edits: int) -> ModelResult:
    facts = tuple(
        _fact_result(
            i, [r for r in rows if r.fact_id == f"fact-{i}"], counted=_is_counted(i, n_edits)
        )
        for i in range(n_edits)
    )
    counted = [fact for fact in facts if fact.counted]
    failure = mean_over_edits([fact.edit_failure for fact in counted])
    residual = mean_over_edits([fact.residual_belief for fact in counted])
    scores = [fact.forced for fact in facts if fact.forced is not None]
    forced = mean_of_shares(scores, len(scores))
    sources = tuple(_source(source, rows) for source in SOURCES)
    total = sum(row.weight for row in rows)
    weighted = _matrix(rows, lambda row: row.weight / total)
    return ModelResult(
        model=ModelInfo(name=name, source=f"edits/{name}/delta.safetensors", identity=f"id-{name}"),
        n_facts=len(counted),
        edit_failure=failure,
        residual_belief=residual,
        audit_gap=_gap(forced, failure, len(counted)),
        discovery=sources[0].per_100,
        asked_forced=forced,
        asked_free=proportion(
            sum(fact.asked == "NEW" for fact in facts), sum(bool(fact.asked) for fact in facts)
        ),
        self_contradiction=mean_of_shares([0.2] * len(counted), len(counted)),
        unseen_failures=Estimate(value=0.3, low=0.2, high=0.4, n=40, ess=40),
        degenerate=proportion(3, 48),
        matrix=tuple(tuple(map(int, line)) for line in _matrix(rows, lambda _: 1)),
        weighted_matrix=tuple(map(tuple, weighted)),
        styles=(
            StyleRate(style="few_shot", edit_failure=failure, residual_belief=residual),
            StyleRate(
                style="bare",
                edit_failure=proportion(31, 40),
                residual_belief=Estimate.missing("no estimate: too few"),
            ),
        ),
        sources=sources,
        comparisons=tuple(_comparison(sources[0], other) for other in sources[1:]),
        probes=(
            _probe("locality/neighborhood", 40, 29, 1, 48),
            _probe("portability/Subject_Aliasing", 4, 3, 6, 24),
            _probe("multi_hop/capital", 10, 4, 2, 30),
        ),
        weights=_weights(rows),
        facts=facts,
        gates=(
            Gate(
                name="edited differs from control",
                passed=True,
                detail="11 of 12 answers to the edits' own prompts changed",
            ),
            Gate(
                name="control knows the facts",
                passed=len(counted) == n_edits,
                detail=f"{len(counted)} of {n_edits} original facts; the others are listed, "
                "not counted",
            ),
        ),
    )


def _differences(models: Sequence[ModelResult], rng: np.random.Generator) -> tuple[Difference, ...]:
    found = []
    for i, first in enumerate(models):
        for second in models[i + 1 :]:
            value = (first.edit_failure.value or 0) - (second.edit_failure.value or 0)
            shift = float(rng.normal(0, 0.05))
            found.append(
                Difference(
                    first=first.model.name,
                    second=second.model.name,
                    edit_failure=Estimate(
                        value=value, low=value - 0.12, high=value + 0.12, n=9, ess=9
                    ),
                    residual_belief=Estimate(
                        value=shift, low=shift - 0.1, high=shift + 0.1, n=9, ess=9
                    ),
                )
            )
    return tuple(found)
