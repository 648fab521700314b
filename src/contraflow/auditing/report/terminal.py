"""The report of an audit for a terminal: at most 43 lines for one edited model."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from contraflow.auditing.outcome.result import (
    AuditResult,
    Difference,
    Estimate,
    FactResult,
    FailureMode,
    ModelResult,
)
from contraflow.auditing.report.headline import headline
from contraflow.auditing.report.meanings import CARDS, reservations, weights_line
from contraflow.auditing.report.shown import clipped, full_text, plural, printable, usage_text
from contraflow.auditing.report.source_words import comparison_line, continuations_line
from contraflow.auditing.report.worst_first import worst_first

WIDTH = 100
N_FACTS = 4
N_WARNINGS = 3
N_NOTES = 2


def text_report(result: AuditResult) -> str:
    """Headline, rates, worst facts, sources and warnings of each edited model, as plain text."""
    blocks = [_model(model) for model in result.models]
    if result.differences:
        blocks.append(["paired differences, first minus second", *_differences(result.differences)])
    blocks.append(list(_usage(result)))
    blocks += [[_line(0, f"note: {note}") for note in result.notes[:N_NOTES]]]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _model(model: ModelResult) -> list[str]:
    return [
        _wrapped(headline(model)),
        "",
        *(f"  {m.label.lower():<22}{_clipped(full_text(m.of(model), m.unit))}" for m in CARDS),
        *_styles(model),
        *_facts(model),
        *_sources(model),
        *_warnings(model),
    ]


def _clipped(text: str) -> str:
    return clipped(text, WIDTH - 24)


def _styles(model: ModelResult) -> Iterator[str]:
    if len(model.styles) > 1:
        for rate in model.styles:
            failure, residual = full_text(rate.edit_failure), full_text(rate.residual_belief)
            yield _line(2, f"asked {rate.style}: failure {failure}, residual {residual}")


def _facts(model: ModelResult) -> Iterator[str]:
    failing = [fact for fact in worst_first(model.facts) if fact.n_failing]
    yield ""
    if not failing:
        yield f"no failing question about {plural(model.n_facts, 'counted fact')}"
        return
    yield f"facts that fail most ({len(failing)} of {plural(model.n_facts, 'counted fact')} fail)"
    for fact in failing[:N_FACTS]:
        yield from _fact(fact)


def _fact(fact: FactResult) -> Iterator[str]:
    n_modes = f" ({plural(len(fact.modes), 'mode')})" if fact.modes else ""
    change = f"{fact.original_answer} \u2192 {fact.edited_answer}"
    yield _line(2, f"{full_text(fact.edit_failure)} {fact.subject}: {change}{n_modes}")
    if fact.modes:
        yield f"      {_example(fact.modes[0])}"


def _example(mode: FailureMode) -> str:
    """Question and answer on one line; the answer is the first to be cut."""
    said = f"({mode.post.lower()})"
    room = WIDTH - 12 - len(said)
    answer = printable(mode.post_answer)
    question = clipped(mode.question, max(room - len(answer), 2 * room // 3))
    return f'{question} \u2192 "{clipped(answer, room - len(question))}" {said}'


def _sources(model: ModelResult) -> Iterator[str]:
    if not model.sources and not model.continuations:
        return
    yield ""
    if model.sources:
        yield "found by        asked  failing  modes  failing per 100"
    for source in model.sources:
        counts = f"{source.n_asked:>5}  {source.n_failing:>7}  {source.n_modes:>5}"
        yield f"  {source.source:<13} {counts}  {_yield(source.per_100)}"
    for comparison in model.comparisons:
        yield _line(2, comparison_line(comparison))
    for found in model.continuations:
        yield _line(2, continuations_line(found))


def _yield(per_100: Estimate) -> str:
    return full_text(per_100, "per_100").replace(" per 100", "")


def _warnings(model: ModelResult) -> Iterator[str]:
    failed = [f"{gate.name}: {gate.detail}" for gate in model.gates if not gate.passed]
    lines = [*failed, *model.warnings, *reservations(model.weights)]
    yield ""
    yield weights_line(model.weights)
    for line in lines[:N_WARNINGS]:
        yield _wrapped(clipped(f"! {line}", 2 * WIDTH - 10))  # two lines: the remedy comes last
    if len(lines) > N_WARNINGS:
        yield f"! {plural(len(lines) - N_WARNINGS, 'more warning')} in the report"


def _differences(differences: Sequence[Difference]) -> Iterator[str]:
    for found in differences:
        rates = [
            f"{label} {full_text(estimate, 'points')}"
            for label, estimate in (
                ("failure", found.edit_failure),
                ("residual", found.residual_belief),
            )
        ]
        names = f"{found.first} \u2212 {found.second}"
        yield _line(2, f"{names}: {', '.join(rates)}")


def _usage(result: AuditResult) -> Iterator[str]:
    """What served models were asked, the control first."""
    for label, model in (("control ", result.control), *(("", m.model) for m in result.models)):
        if model.usage is not None:
            yield _line(0, f"asked {label}{model.name}: {usage_text(model.usage)}")


def _line(indent: int, text: str) -> str:
    return " " * indent + clipped(text, WIDTH - indent)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
