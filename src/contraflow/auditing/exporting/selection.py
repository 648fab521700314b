"""Which questions of an audit are exported: one of each failure mode first, then the likeliest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from contraflow.auditing.outcome.finished import FinishedAudit
from contraflow.auditing.outcome.rows import Row
from contraflow.errors import UserError
from contraflow.facts.edits import Edit
from contraflow.settings.keys import suggestion
from contraflow.text.tokens import normalize

CHECKS = ("failing", "residual", "known", "sound", "drawn")
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
