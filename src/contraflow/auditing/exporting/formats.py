"""Failing questions of an audit for other tools: a benchmark, or data of the next edit.

| format | |
|---|---|
| edits | contraflow's edits file: the failing questions are the paraphrases of their edit |
| easyedit, qaedit | as `contraflow.export` writes them, the best question first |
| csv | a table: a row per question, edited model and style, with both answers |
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from contraflow.auditing.exporting.selection import AuditSelection, OfEdit, choose
from contraflow.auditing.outcome.finished import FinishedAudit
from contraflow.auditing.outcome.rows import Row
from contraflow.errors import UserError
from contraflow.evaluation.grouping import FactOfRecord
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import verdict_of
from contraflow.export import easyedit, qaedit, table
from contraflow.export.selection import Chosen, Selection, Written
from contraflow.facts.edits import Edit, write_edits
from contraflow.settings.keys import suggestion

FORMATS = ("edits", "easyedit", "qaedit", "csv")


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
        n_rows = sum(selection.edited in (None, row.model) for row in audit.rows)
        of_model = "" if selection.edited is None else f" of {selection.edited}"
        raise UserError(
            f"in={audit.folder}: none of its {n_rows} rows{of_model} is left; require fewer checks "
            f"with only= (now {', '.join(selection.only) or 'all'}), or audit with a larger n="
        )
    if format_name == "edits":
        return Written(write_edits(out, [_tested(of_edit) for of_edit in chosen]))
    if format_name == "csv":
        return table.write_table(out, [_cells(e, row) for e, rows in chosen for row in rows])
    writer = {"easyedit": easyedit.write, "qaedit": qaedit.write}[format_name]
    edits_of = {
        FactOfRecord(edit.fact.fact_id, edit.fact.subject, edit.fact.edit_fact): edit
        for edit, _ in chosen
    }
    questions = [_as_chosen(edit, row) for edit, rows in chosen for row in rows]
    return writer(out, questions, Selection(), edits_of)


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
