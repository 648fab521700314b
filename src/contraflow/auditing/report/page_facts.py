"""The table of facts of an audit's report. A script sorts, filters and opens its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contraflow.auditing.outcome.result import Estimate, FactResult, ModelResult
from contraflow.auditing.report.interval_marks import interval_mark
from contraflow.auditing.report.markup import Markup, data, joined, tag
from contraflow.auditing.report.reference import about
from contraflow.auditing.report.shown import (
    interval_text,
    is_known,
    number,
    plural,
    value_text,
    why,
)
from contraflow.auditing.report.worst_first import worst_first


@dataclass(frozen=True)
class Column:
    """A column that can be sorted by `data-<key>` of its rows; text goes up first."""

    key: str
    label: str
    hint: str
    kind: str = "number"


COLUMNS = (
    Column("subject", "Fact", "The subject, and how its fact was edited", "text"),
    Column(
        "failure",
        "Edit failure",
        "Of natural questions that the control answers with the old fact: not the new answer",
        "rate",
    ),
    Column(
        "residual",
        "Residual belief",
        "Of the same questions: still the old answer",
        "rate",
    ),
    Column(
        "own", "Own prompt", "The free answer to the edit's own prompt, and its forced score", "own"
    ),
    Column(
        "known", "Known", "Different questions asked that the control answers with the old fact"
    ),
    Column("failing", "Failing", "Known questions without the new answer, from all sources"),
    Column("modes", "Modes", "Kinds of failing questions, by meaning"),
)
OWN_ORDER = ("NEW", "BOTH", "OTHER", "DEGENERATE", "OLD")


def facts_table(model: ModelResult, index: int) -> Markup:
    """All facts of a model, worst first, those that are not counted last."""
    numbers = {id(fact): i for i, fact in enumerate(model.facts)}
    others = [fact for fact in model.facts if not fact.counted]
    facts = [*worst_first(model.facts), *others]
    head = tag("tr", [_head(column, about(model, column.hint)) for column in COLUMNS])
    body = tag("tbody", [_row(fact, numbers[id(fact)]) for fact in facts])
    table = tag("table", tag("thead", head), body, class_="sortable edits")
    return joined(
        _controls(facts, index),
        tag(
            "div",
            table,
            class_="card flush scroll",
            tabindex="0",
            role="region",
            aria_label="Facts",
        ),
        tag("button", "Show more", type="button", class_="more", hidden=True),
    )


def _controls(facts: Sequence[FactResult], index: int) -> Markup:
    search = tag(
        "input",
        type="search",
        placeholder="Filter by any word",
        aria_label="Filter facts",
        id=f"filter-{index}",
    )
    options = (
        ("", "All facts"),
        ("failing", "With a failing question"),
        ("old", "Still with the old answer"),
        ("clean", "Without a failing question"),
        ("uncounted", "Not counted"),
    )
    select = tag(
        "select",
        [tag("option", label, value=value) for value, label in options],
        aria_label="Which facts",
    )
    count = tag("span", plural(len(facts), "fact"), class_="count", aria_live="polite")
    return tag("div", search, select, count, class_="controls", hidden=True)


def _head(column: Column, hint: str) -> Markup:
    name = column.key if column.kind != "number" else "number"
    return tag(
        "th",
        column.label,
        scope="col",
        class_=name,
        title=hint,
        data_key=column.key,
        data_text=column.kind == "text",
    )


def _row(fact: FactResult, number_of_fact: int) -> Markup:
    cells = [tag("td", _subject(fact), class_="subject")]
    if fact.counted:
        cells += [
            _rate_cell(fact.edit_failure, "failing", "Edit failure"),
            _rate_cell(fact.residual_belief, "old", "Residual belief"),
        ]
    else:
        cells.append(tag("td", "not counted: ", fact.why_not, class_="uncounted", colspan="2"))
    cells += [
        tag("td", _own_prompt(fact), class_="own", data_label="Own prompt"),
        _count_cell(fact.n_known, "Known"),
        _count_cell(fact.n_failing, "Failing"),
        _count_cell(len(fact.modes), "Modes"),
    ]
    return tag(
        "tr",
        cells,
        data_row=str(number_of_fact),
        data_subject=fact.subject,
        data_failure=_key(fact.edit_failure.value) if fact.counted else "",
        data_residual=_key(fact.residual_belief.value) if fact.counted else "",
        data_own=str(OWN_ORDER.index(fact.asked)) if fact.asked in OWN_ORDER else "",
        data_known=str(fact.n_known),
        data_failing=str(fact.n_failing),
        data_old=str(fact.n_residual),
        data_modes=str(len(fact.modes)),
        data_counted=fact.counted,
    )


def _key(value: float | None) -> str:
    return f"{value:.6f}" if is_known(value) else ""


def _subject(fact: FactResult) -> Markup:
    original = fact.original_answer or "?"
    return joined(
        tag("span", data(fact.subject), class_="name"),
        tag("small", data(original), " \u2192 ", data(fact.edited_answer)),
    )


def _rate_cell(estimate: Estimate, tone: str, label: str) -> Markup:
    if not is_known(estimate.value):
        words = tag("span", tag("b", "no estimate"), tag("small", why(estimate)), class_="figures")
        return tag("td", words, class_="rate", data_label=label)
    figures = tag(
        "span",
        tag("b", value_text(estimate)),
        tag("small", interval_text(estimate)),
        class_="figures",
    )
    mark = interval_mark(estimate, "share", tone, label)
    return tag("td", mark, figures, class_="rate", data_label=label)


def _own_prompt(fact: FactResult) -> Markup:
    if not fact.asked:
        return joined(tag("span", "no prompt", class_="no"))
    forced = f"forced {number(fact.forced)} %" if fact.forced is not None else None
    return joined(verdict_chip(fact.asked), tag("small", forced) if forced else None)


def verdict_chip(verdict: str) -> Markup:
    """A verdict as a colored label."""
    return tag("span", verdict.lower(), class_=f"chip v-{verdict.lower()}")


def _count_cell(count: int, label: str) -> Markup:
    return tag("td", str(count), class_="number", data_label=label)
