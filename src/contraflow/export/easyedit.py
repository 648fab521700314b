"""An evaluation file in EasyEdit's form: one edit per fact, with its questions as test prompts.

The questions concern what the edit changes, so an edited model must answer them with the edited
answer. All of them are portability prompts, which test whether the edit carries over, the best one
first: EasyEdit's loader of such files reads these. It does not read `rephrase_prompt`, which holds
the best question for scripts that pass it to the editor themselves.

The prompt of the edit is its statement up to the edited answer, or a question if the statement does
not end with the edited answer. EasyEdit asserts that the subject stands in the prompt, letter by
letter, and stops the whole list otherwise. So the subject is written as it stands there ("Pizza").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from contraflow.evaluation.grouping import fact_of
from contraflow.evaluation.records import QuestionRecord
from contraflow.export.selection import Chosen, Selection, Written
from contraflow.system.files import write_atomically
from contraflow.text.folding import spans_of

SLOT = "Reasoning"  # the portability slot that EasyEdit's loader reads


def write(path: Path, chosen: Sequence[Chosen], _selection: Selection) -> Written:
    """Write a JSON array of edits; without any edit nothing is written."""
    edits: list[dict[str, Any]] = []
    left_out: list[str] = []
    for _, group in groupby((c.record for c in chosen), key=fact_of):
        questions = list(group)
        first = questions[0]
        found = _prompt_and_subject(questions)
        if not first.edited_answer:
            left_out.append(f"{named(first)}: the fact has no edited_answer")
        elif found is None:
            left_out.append(
                f"{named(first)}: its subject stands neither in the statement nor in a question, "
                "and EasyEdit requires it in the prompt"
            )
        else:
            edits.append({"case_id": len(edits), **_edit(questions, *found)})
    if edits:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(edits), indent=1) + b"\n")
    return Written(len(edits), tuple(left_out))


def named(record: QuestionRecord) -> str:
    """Return the name of a fact for messages."""
    return f"fact {record.fact_id} (subject {record.subject!r})"


def _edit(questions: Sequence[QuestionRecord], prompt: str, subject: str) -> dict[str, Any]:
    first = questions[0]
    target = first.edited_answer
    tests = [record.question for record in questions if record.question != prompt]
    carried = [{"prompt": question, "ground_truth": [[target]]} for question in tests]
    return {
        "subject": subject,
        "prompt": prompt,
        "target_new": target,
        "ground_truth": [text for text in (first.original_answer, *first.aliases) if text],
        "rephrase_prompt": tests[0] if tests else prompt,
        "portability": {SLOT: carried} if carried else {},
        "locality": {},
    }


def _prompt_and_subject(questions: Sequence[QuestionRecord]) -> tuple[str, str] | None:
    """Return the first prompt that names the subject, with the subject as it stands there."""
    for prompt in prompts_of(questions):
        subject = as_it_stands(questions[0].subject, prompt)
        if subject:
            return prompt, subject
    return None


def prompts_of(questions: Sequence[QuestionRecord]) -> Iterator[str]:
    """Yield the statement up to the edited answer, then the questions."""
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
