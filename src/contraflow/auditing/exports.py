"""Failing questions of an audit for other tools: a benchmark, or data of the next edit.

| format | |
|---|---|
| edits | contraflow's edits file: the failing questions are the paraphrases of their edit |
| easyedit, qaedit | as `contraflow.export` writes them, the best question first |
| csv | a table: a row per question, edited model and style, with both answers |
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from contraflow.auditing.outcome.finished import FinishedAudit
from contraflow.auditing.outcome.rows import Row
from contraflow.errors import UserError
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import verdict_of
from contraflow.export import easyedit, qaedit, table
from contraflow.export.selection import Chosen, Selection, Written
from contraflow.facts.edits import Edit, write_edits
from contraflow.settings.keys import suggestion
from contraflow.text.tokens import normalize

CHECKS = ("failing", "residual", "known", "sound", "drawn")
FORMATS = ("edits", "easyedit", "qaedit", "csv")
_PROPERTY = {
    "failing": "fails",
    "residual": "is_residual",
    "known": "is_known",
    "sound": "sound",
    "drawn": "is_draw",
}


@dataclass(frozen=True)
class AuditSelection:
    """Which questions of an audit are exported.

    only: names of `CHECKS`; a question must pass all of them. failing: the control says OLD, the
        edited model does not say NEW. residual: both say OLD. known: the control says OLD. sound:
        about the subject, naming neither answer. drawn: with a weight.
    edited: the name of an edited model; None for all, where a question counts if it passes for one.
    per_fact: at most so many per fact, one of each failure mode first.
    distinct: each question of a fact once, ignoring case, punctuation and a leading article; in a
        table once per edited model and style.
    """

    only: tuple[str, ...] = ("failing",)
    edited: str | None = None
    per_fact: int | None = None
    distinct: bool = True

    def __str__(self) -> str:
        """Describe the selection for people."""
        parts = [f"only {' and '.join(self.only)}" if self.only else "all"]
        if self.edited is not None:
            parts.append(f"of {self.edited}")
        if self.per_fact is not None:
            parts.append(f"at most {self.per_fact} a fact")
        return ", ".join(parts)


class OfEdit(NamedTuple):
    """The chosen questions of one edit, the best first."""

    edit: Edit
    rows: tuple[Row, ...]


def export_audit(
    audit: FinishedAudit, out: Path, format_name: str, selection: AuditSelection
) -> Written:
    """Write the chosen questions of an audit.

    Raises: UserError for an unknown format, model or check, or where no question is left.
    """
    if format_name not in FORMATS:
        raise UserError(
            f"format={format_name}: must be one of {', '.join(FORMATS)}"
            f"{suggestion(format_name, FORMATS)}"
        )
    chosen = choose(audit, selection, by_model=format_name == "csv")
    if not chosen:
        raise UserError(
            f"in={audit.folder}: none of its {len(audit.rows)} rows is left; require fewer checks "
            f"with only= (now {', '.join(selection.only) or 'all'}), or audit with a larger n="
        )
    if format_name == "edits":
        return Written(write_edits(out, [_tested(of_edit) for of_edit in chosen]))
    if format_name == "csv":
        return table.write_table(out, [_cells(e, row) for e, rows in chosen for row in rows])
    writer = {"easyedit": easyedit.write, "qaedit": qaedit.write}[format_name]
    return writer(out, [_as_chosen(e, row) for e, rows in chosen for row in rows], Selection())


def choose(
    audit: FinishedAudit, selection: AuditSelection, *, by_model: bool = False
) -> list[OfEdit]:
    """The chosen questions by edit, in the order of the edits; edits without any are left out.

    by_model: whether the same question of another edited model or style is another one.

    Raises: UserError for an edited model or a check that is not there.
    """
    _check(audit, selection)
    first_of_modes = _first_of_modes(audit)
    of_edit: dict[tuple[str, str], list[Row]] = {}
    for row in audit.rows:
        is_chosen = all(getattr(row, _PROPERTY[name]) for name in selection.only)
        if is_chosen and selection.edited in (None, row.model):
            of_edit.setdefault((row.fact_id, row.edit_fact.strip()), []).append(row)
    originals = _originals(audit)
    found = []
    for edit in audit.edits:
        key = (edit.fact.fact_id, edit.fact.edit_fact.strip())
        rows = sorted(of_edit.get(key, ()), key=lambda row: _rank(row, first_of_modes))
        kept = tuple(_of_first(selection.per_fact, rows))
        if selection.distinct:
            kept = tuple(_once(kept, by_model))
        if kept:
            found.append(OfEdit(_with_original(edit, originals.get(key, "")), kept))
    return found


def _check(audit: FinishedAudit, selection: AuditSelection) -> None:
    for name in selection.only:
        if name not in CHECKS:
            raise UserError(
                f"only={name}: must be of {', '.join(CHECKS)}, or all{suggestion(name, CHECKS)}"
            )
    names = [model.model.name for model in audit.result.models]
    if selection.edited is not None and selection.edited not in names:
        raise UserError(
            f"edited={selection.edited}: the audit has {', '.join(names)}"
            f"{suggestion(selection.edited, names)}"
        )


def _first_of_modes(audit: FinishedAudit) -> set[tuple[str, str, str]]:
    """Model, fact and question of the likeliest question of every failure mode."""
    return {
        (model.model.name, fact.fact_id, mode.question)
        for model in audit.result.models
        for fact in model.facts
        for mode in fact.modes
    }


def _rank(row: Row, first_of_modes: set[tuple[str, str, str]]) -> tuple[bool, float, str]:
    """One question of each mode first, then the likeliest under P_Q; those without one last."""
    is_first = (row.model, row.fact_id, row.question) in first_of_modes
    unlikely = math.inf if row.log_p_prior is None else -row.log_p_prior
    return (not is_first, unlikely, row.question)


def _of_first(n: int | None, rows: Sequence[Row]) -> Iterator[Row]:
    """The rows of the first n different questions, or of all."""
    texts = list(dict.fromkeys(normalize(row.question) for row in rows))
    chosen = set(texts[:n])
    return (row for row in rows if normalize(row.question) in chosen)


def _once(rows: Iterable[Row], by_model: bool) -> Iterator[Row]:
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        text = normalize(row.question)
        key = (text, row.model, row.style) if by_model else (text,)
        if key not in seen:
            seen.add(key)
            yield row


def _originals(audit: FinishedAudit) -> dict[tuple[str, str], str]:
    """The original answers that counted: the file's, or what the control said."""
    return {
        (fact.fact_id, fact.edit_fact.strip()): fact.original_answer
        for model in audit.result.models
        for fact in model.facts
    }


def _with_original(edit: Edit, original_answer: str) -> Edit:
    if edit.fact.original_answer or not original_answer:
        return edit
    fact = msgspec.structs.replace(edit.fact, original_answer=original_answer)
    return msgspec.structs.replace(edit, fact=fact)


def _tested(of_edit: OfEdit) -> Edit:
    """The edit with the chosen questions as its paraphrases; its other tests are kept."""
    edit, rows = of_edit
    texts = dict.fromkeys(row.question for row in rows if row.question != edit.prompt)
    return msgspec.structs.replace(edit, paraphrases=tuple(texts))


def _cells(edit: Edit, row: Row) -> dict[str, Any]:
    fact = edit.fact
    about = {
        "relation": fact.relation,
        "original_answer": fact.original_answer,
        "edited_answer": fact.edited_answer,
    }
    cells = msgspec.structs.asdict(row)
    del cells["fact_key"]
    return cells | about | {"fails": row.fails, "is_residual": row.is_residual}


def _as_chosen(edit: Edit, row: Row) -> Chosen:
    fact = edit.fact
    record = QuestionRecord(
        fact_id=fact.fact_id,
        subject=fact.subject,
        edit_fact=fact.edit_fact,
        relation=fact.relation,
        original_answer=fact.original_answer,
        edited_answer=fact.edited_answer,
        aliases=fact.aliases,
        question=row.question,
        answer=row.post_answer,
        log_contradiction=_or_nan(row.log_contradiction),
        log_entailment=_or_nan(row.log_entailment),
        log_p_question=_or_nan(row.log_p_prior),
        log_pf=_or_nan(row.log_pf),
        log_p_answer=math.nan,
        log_reward=math.nan,
    )
    return Chosen(record, verdict_of(record))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
