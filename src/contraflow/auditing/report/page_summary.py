"""The top of an audit's report: the headline, the cards of a model, several models side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence

from contraflow.auditing.outcome.result import AuditResult, Difference, Estimate, ModelResult
from contraflow.auditing.report.headline import headline
from contraflow.auditing.report.interval_marks import interval_mark
from contraflow.auditing.report.markup import Markup, data, joined, tag
from contraflow.auditing.report.meanings import CARDS, MINOR, Measure
from contraflow.auditing.report.reference import about
from contraflow.auditing.report.shown import (
    NO_ESTIMATE,
    Unit,
    interval_text,
    is_known,
    number,
    plural,
    value_text,
    why,
)
from contraflow.system.addresses import without_logins

# Numbers of which `n` counts edits, not questions.
OF_EDITS = ("asked_forced", "audit_gap")
TONES = {"edit_failure": "failing", "residual_belief": "old"}
_PERCENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) %")
MARK = tag(
    "svg",
    tag("path", d="M3 8h14m0 0-4-4m4 4-4 4"),
    tag("path", d="M21 16H7m0 0 4 4m-4-4 4-4", class_="counter"),
    viewBox="0 0 24 24",
    width="22",
    height="22",
    aria_hidden="true",
    class_="logo",
)


def masthead(result: AuditResult) -> Markup:
    """Title, what was audited, and the headline of each edited model."""
    meta = [
        result.made.replace("T", " ")[:16],
        plural(result.n_edits, "edit"),
        joined("control ", data(without_logins(result.control.source))),
        joined("sampler ", data(result.sampler)),
    ]
    headlines = [tag("p", headline_html(model), class_="summary") for model in result.models]
    return tag(
        "header",
        tag("p", MARK, "contraflow audit", class_="brand"),
        tag("h1", _title(result)),
        tag("p", [tag("span", fact) for fact in meta], class_="meta"),
        headlines,
        class_="masthead",
    )


def _title(result: AuditResult) -> Markup:
    if len(result.models) == 1:
        return joined("What ", data(result.models[0].model.name), " still believes")
    return joined(f"What {len(result.models)} edited models still believe")


def headline_html(model: ModelResult) -> Markup:
    """The headline with its numbers in bold."""
    pieces = _PERCENT.split(headline(model))
    line = [tag("b", f"{piece}\u202f%") if i % 2 else piece for i, piece in enumerate(pieces)]
    return tag("bdi", line, dir="ltr")


def cards(model: ModelResult) -> Markup:
    """The six headline numbers, then the minor ones."""
    return joined(
        tag("div", [_card(measure, model) for measure in CARDS], class_="cards audit-cards"),
        tag("div", [_minor(measure, model) for measure in MINOR], class_="strip audit-strip"),
    )


def _card(measure: Measure, model: ModelResult) -> Markup:
    estimate = measure.of(model)
    known = is_known(estimate.value)
    tone = TONES.get(measure.name, "after")
    return tag(
        "article",
        tag("h3", measure.label),
        tag("p", _big(estimate, measure.unit), class_="big" if known else "big none"),
        tag("p", _below(estimate, measure), class_="change"),
        interval_mark(estimate, measure.unit, tone, measure.label),
        tag("p", about(model, measure.meaning), class_="meaning"),
        class_="card headline",
        data_measure=measure.name,
    )


def _big(estimate: Estimate, unit: Unit) -> Markup:
    if not is_known(estimate.value):
        return joined(NO_ESTIMATE)
    if unit == "share":
        return joined(number(estimate.value), "\u2009%")
    if unit == "points":
        return joined(value_text(estimate, unit).removesuffix(" points"), tag("small", " points"))
    return joined(number(estimate.value, unit), tag("small", " per 100"))


def _below(estimate: Estimate, measure: Measure) -> str:
    if not is_known(estimate.value):
        return why(estimate) or "\u00a0"
    interval = interval_text(estimate, measure.unit) or why(estimate)
    return f"{interval} \u00b7 {_basis(estimate, measure)}"


def _basis(estimate: Estimate, measure: Measure) -> str:
    if measure.name in OF_EDITS:
        return plural(estimate.n, "edit")
    count = plural(estimate.n, "question")
    weighted = estimate.ess < estimate.n * 0.995
    return f"{count} (effective {estimate.ess:.0f})" if weighted else count


def _minor(measure: Measure, model: ModelResult) -> Markup:
    estimate = measure.of(model)
    interval = interval_text(estimate, measure.unit)
    return tag(
        "div",
        tag("span", measure.label),
        tag(
            "b",
            value_text(estimate, measure.unit),
            tag("small", f" {interval}") if interval else None,
        ),
        title=f"{measure.meaning} {why(estimate)}".strip(),
        data_measure=measure.name,
    )


def comparison(result: AuditResult) -> Markup:
    """Every headline number of all edited models, and their paired differences."""
    return tag(
        "section",
        tag("h2", "Side by side"),
        tag(
            "p",
            "The same questions were put to every model. A paired difference is taken fact by "
            "fact, so it can be certain where the two intervals overlap.",
            class_="lede",
        ),
        tag("div", [_compared(m, result.models) for m in CARDS], class_="compare"),
        _differences(result.differences),
        id="compare",
    )


def _compared(measure: Measure, models: Sequence[ModelResult]) -> Markup:
    rows = [
        tag(
            "div",
            tag("span", data(model.model.name), class_="name"),
            interval_mark(measure.of(model), measure.unit, f"s{i % 6}", model.model.name),
            _short(measure.of(model), measure.unit),
            class_="pair",
        )
        for i, model in enumerate(models)
    ]
    return tag(
        "figure",
        tag("h4", measure.label),
        rows,
        class_="card",
        title=about(models[0], measure.meaning),
    )


def _short(estimate: Estimate, unit: Unit) -> Markup:
    interval = interval_text(estimate, unit)
    value = value_text(estimate, unit).removesuffix(" points").removesuffix(" per 100")
    return tag("span", tag("b", value), tag("small", interval or why(estimate)), class_="figures")


def _differences(differences: Sequence[Difference]) -> Markup | None:
    if not differences:
        return None
    head = ("Pair, first \u2212 second", "Edit failure", "Residual belief")
    rows = [
        tag(
            "tr",
            tag("th", data(found.first), " \u2212 ", data(found.second), scope="row"),
            tag("td", _difference(found.edit_failure, "failing"), class_="rate"),
            tag("td", _difference(found.residual_belief, "old"), class_="rate"),
        )
        for found in differences
    ]
    table = tag(
        "table",
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in head])),
        tag("tbody", rows),
        class_="differences",
    )
    return joined(
        tag("h3", "Paired differences, in percentage points"),
        tag("div", table, class_="card flush scroll"),
    )


def _difference(estimate: Estimate, tone: str) -> Markup:
    label = "Difference"
    return joined(interval_mark(estimate, "points", tone, label), _short(estimate, "points"))
