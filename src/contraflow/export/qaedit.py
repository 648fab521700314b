"""An evaluation file in the form of QAEdit: one edit per fact, with a rephrased question.

QAEdit (Yang et al. 2025, arXiv 2502.11177) asks questions, so the prompt of an edit is a question
as well, and a row has one rephrased question for its test: the best one. `locality` asks packaged
facts about other subjects that no exported edit changes. As EasyEdit requires, the subject stands
in the prompt, letter by letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from contraflow.evaluation.grouping import FactOfRecord, fact_of
from contraflow.evaluation.records import QuestionRecord
from contraflow.export.easyedit import NO_EDITS, as_it_stands, named, prompts_of
from contraflow.export.selection import Chosen, Selection, Written
from contraflow.facts import Fact, default_facts
from contraflow.facts.edit import Edit
from contraflow.facts.neighbors import same_relation, unedited, unrelated
from contraflow.system.files import write_atomically

N_LOCALITY = 2


def write(
    path: Path,
    chosen: Sequence[Chosen],
    _selection: Selection,
    edits_of: Mapping[FactOfRecord, Edit] = NO_EDITS,
) -> Written:
    """Write a JSON array of edits; without any edit nothing is written.

    edits_of: what is known of an edit beside its fact: its prompt.
    """
    groups = [list(group) for _, group in groupby((c.record for c in chosen), key=fact_of)]
    edits = [_edit_of(questions[0]) for questions in groups]
    facts = unedited(default_facts(), edits)
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for edit, questions in zip(edits, groups, strict=True):
        row = _row(questions, edits_of.get(fact_of(questions[0])))
        if not edit.fact.edited_answer:
            left_out.append(f"{named(questions[0])}: the fact has no edited_answer")
        elif row is None:
            left_out.append(
                f"{named(questions[0])}: its subject stands neither in the statement nor in a "
                "question, and EasyEdit requires it in the prompt"
            )
        else:
            rows.append(row | {"locality": _locality(edit, facts)})
    if rows:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    return Written(len(rows), tuple(left_out))


def _edit_of(record: QuestionRecord) -> Edit:
    return Edit(
        fact=Fact(
            fact_id=record.fact_id,
            subject=record.subject,
            edit_fact=record.edit_fact,
            relation=record.relation,
            original_answer=record.original_answer,
            edited_answer=record.edited_answer,
            aliases=record.aliases,
        )
    )


def _row(questions: Sequence[QuestionRecord], edit: Edit | None) -> dict[str, Any] | None:
    """Return a row without locality; None if no prompt names the subject.

    The best question is the test, so the prompt is the edit's own, or another question that names
    the subject, or else the statement up to its answer.
    """
    first = questions[0]
    own = [] if edit is None or edit.prompt == first.question else [edit.prompt]
    others = [record.question for record in questions[1:]]
    for prompt in [*own, *others, *prompts_of(questions, edit)]:
        subject = as_it_stands(first.subject, prompt)
        if subject:
            return {
                "subject": subject,
                "prompt": prompt,
                "target": first.edited_answer,
                "rephrase": first.question,
            }
    return None


def _locality(edit: Edit, facts: Sequence[Fact]) -> list[dict[str, str]]:
    probes = same_relation(edit, facts, N_LOCALITY) or unrelated(edit, facts, N_LOCALITY)
    return [{"loc": probe.prompt, "loc_ans": probe.answers[0]} for probe in probes]
