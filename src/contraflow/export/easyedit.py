"""An evaluation file in EasyEdit's form: one edit per fact, with its questions as test prompts.

The questions concern what the edit changes, so an edited model must answer them with the edited
answer. All of them are portability prompts, which test whether the edit carries over, the best one
first: EasyEdit's loader of such files reads these. It does not read `rephrase_prompt`, which holds
the best question for scripts that pass it to the editor themselves.

The prompt of the edit is its own, where an edits file has one; or else its statement up to the
edited answer, or a question if the statement does not end with the edited answer. EasyEdit asserts
that the subject stands in the prompt, letter by letter, and stops the whole list otherwise. So the
subject is written as it stands there ("Pizza").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from contraflow.evaluation.grouping import FactOfRecord, fact_of
from contraflow.evaluation.records import QuestionRecord
from contraflow.export.selection import Chosen, Selection, Written
from contraflow.facts.edit import Edit
from contraflow.system.files import write_atomically
from contraflow.text.folding import spans_of

# The slots of portability and locality that EasyEdit's loader reads.
SLOT = "Reasoning"
LOCALITY_SLOT = "Relation_Specificity"
NO_EDITS: Mapping[FactOfRecord, Edit] = MappingProxyType({})


def write(
    path: Path,
    chosen: Sequence[Chosen],
    _selection: Selection,
    edits_of: Mapping[FactOfRecord, Edit] = NO_EDITS,
) -> Written:
    """Write a JSON array of edits; without any edit nothing is written.

    edits_of: what is known of an edit beside its fact: its prompt, and its locality questions.
    """
    edits: list[dict[str, Any]] = []
    left_out: list[str] = []
    for fact, group in groupby((c.record for c in chosen), key=fact_of):
        questions = list(group)
        first = questions[0]
        edit = edits_of.get(fact)
        found = _prompt_and_subject(questions, edit)
        if not first.edited_answer:
            left_out.append(f"{named(first)}: the fact has no edited_answer")
        elif found is None:
            left_out.append(
                f"{named(first)}: its subject stands neither in the statement nor in a question, "
                "and EasyEdit requires it in the prompt"
            )
        else:
            edits.append({"case_id": len(edits), **_edit(questions, *found, edit)})
    if edits:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(edits), indent=1) + b"\n")
    return Written(len(edits), tuple(left_out))


def named(record: QuestionRecord) -> str:
    """Return the name of a fact for messages."""
    return f"fact {record.fact_id} (subject {record.subject!r})"


def _edit(
    questions: Sequence[QuestionRecord], prompt: str, subject: str, edit: Edit | None
) -> dict[str, Any]:
    first = questions[0]
    target = first.edited_answer
    tests = [record.question for record in questions if record.question != prompt]
    carried = [{"prompt": question, "ground_truth": [[target]]} for question in tests]
    kept = [
        {"prompt": probe.prompt, "ground_truth": [list(probe.answers)]}
        for probe in (edit.locality if edit else ())
        if probe.answers
    ]
    return {
        "subject": subject,
        "prompt": prompt,
        "target_new": target,
        "ground_truth": [text for text in (first.original_answer, *first.aliases) if text],
        "rephrase_prompt": tests[0] if tests else prompt,
        "portability": {SLOT: carried} if carried else {},
        "locality": {LOCALITY_SLOT: kept} if kept else {},
    }


def _prompt_and_subject(
    questions: Sequence[QuestionRecord], edit: Edit | None
) -> tuple[str, str] | None:
    """Return the first prompt that names the subject, with the subject as it stands there."""
    for prompt in prompts_of(questions, edit):
        subject = as_it_stands(questions[0].subject, prompt)
        if subject:
            return prompt, subject
    return None


def prompts_of(questions: Sequence[QuestionRecord], edit: Edit | None = None) -> Iterator[str]:
    """Yield the edit's own prompt, the statement up to the edited answer, then the questions."""
    if edit is not None and edit.prompt:
        yield edit.prompt
    first = questions[0]
    stem = first.edit_fact.strip().removesuffix(".")
    prompt = stem.removesuffix(first.edited_answer.removesuffix("."))
    if prompt != stem and prompt.endswith(" "):
        yield prompt.strip()
    for record in questions:
        yield record.question


def as_it_stands(subject: str, prompt: str) -> str:
    """Return the subject as a prompt writes it (case, accents, apostrophes), or ""."""
    whole_words = rf"(?<!\w){re.escape(subject)}(?!\w)"
    if re.search(whole_words, prompt):
        return subject
    spans = spans_of(subject, prompt)
    if spans:
        return prompt[spans[0]]
    return subject if subject in prompt else ""
