"""The data of an audit's report that its script needs: what a fact's row opens, and the curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contraflow.auditing.outcome.result import AuditResult, FactResult, FailureMode, ModelResult
from contraflow.auditing.outcome.rows import Row

# Name of the model, fact_id, statement of the edit, question.
RowKey = tuple[str, str, str, str]


def script_data(result: AuditResult, rows: Iterable[Row] | None = None) -> dict[str, Any]:
    """Plain JSON values by edited model and fact, in the order of the result.

    rows: give each failing question both answers; without them only the likeliest question of each
        failure mode has them.
    """
    found = _by_question(result, rows or ())
    return {"models": [_model(model, found) for model in result.models]}


def _by_question(result: AuditResult, rows: Iterable[Row]) -> dict[RowKey, Row]:
    """The rows of the questions that are shown, in the headline's style."""
    styles = {m.model.name: m.styles[0].style for m in result.models if m.styles}
    shown = {
        (model.model.name, fact.fact_id, fact.edit_fact, question)
        for model in result.models
        for fact in model.facts
        for mode in fact.modes
        for question in mode.questions
    }
    found = {}
    for row in rows:
        key = (row.model, row.fact_id, row.edit_fact, row.question)
        if key in shown and row.style == styles.get(row.model, row.style):
            found[key] = row
    return found


def _model(model: ModelResult, rows: Mapping[RowKey, Row]) -> dict[str, Any]:
    return {
        "name": model.model.name,
        "facts": [_fact(model.model.name, fact, rows) for fact in model.facts],
        "sources": [
            {
                "source": source.source,
                "asked": source.asked,
                "failing": source.failing,
                "modes": source.modes,
            }
            for source in model.sources
        ],
    }


def _fact(name: str, fact: FactResult, rows: Mapping[RowKey, Row]) -> dict[str, Any]:
    return {
        "edit_fact": fact.edit_fact,
        "original_answer": fact.original_answer,
        "original_from": fact.original_from,
        "edited_answer": fact.edited_answer,
        "asked": fact.asked,
        "asked_answer": fact.asked_answer,
        "forced": fact.forced,
        "why_not": fact.why_not,
        "n_residual": fact.n_residual,
        "self_contradiction": fact.self_contradiction,
        "modes": [_mode((name, fact.fact_id, fact.edit_fact), mode, rows) for mode in fact.modes],
    }


def _mode(
    key: tuple[str, str, str], mode: FailureMode, rows: Mapping[RowKey, Row]
) -> dict[str, Any]:
    others = [text for text in mode.questions if text != mode.question]
    first = {
        "question": mode.question,
        "pre_answer": mode.pre_answer,
        "post": mode.post,
        "post_answer": mode.post_answer,
    }
    found = [_question(rows.get((*key, text)), text) for text in others]
    return {"n": mode.n_questions, "questions": [first, *found]}


def _question(row: Row | None, text: str) -> dict[str, Any]:
    if row is None:
        return {"question": text, "pre_answer": None, "post": None, "post_answer": None}
    return {
        "question": text,
        "pre_answer": row.pre_answer,
        "post": row.post,
        "post_answer": row.post_answer,
    }
