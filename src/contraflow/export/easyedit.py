"""An evaluation file in EasyEdit's form: one edit a fact, its questions in the rephrase and
portability slots.

Our questions ask the frozen model for what an edit changes. An edited model must answer them with
the edited answer: the best one is the rephrased prompt, the others go where EasyEdit looks for
prompts that the edit must carry over to. The prompt of the edit is its statement up to the edited
answer, or the best question where it does not end there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from contraflow.evaluation.records import QuestionRecord
from contraflow.export.selection import Chosen, Selection
from contraflow.system.files import write_atomically

SLOT = "Reasoning"  # the one that EasyEdit's own loader reads


def write(path: Path, chosen: Sequence[Chosen], _selection: Selection) -> int:
    """Write a JSON array and return how many edits it has; facts without an edited answer are no
    edits.
    """
    rows = list(_rows([c.record for c in chosen]))
    write_atomically(path, msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    return len(rows)


def _rows(records: Sequence[QuestionRecord]) -> Iterator[dict[str, Any]]:
    case = 0
    for _, group in groupby(records, key=lambda record: record.fact_id):
        questions = list(group)
        first, *others = questions
        if not first.edited_answer:
            continue
        target = first.edited_answer
        carried = [{"prompt": q.question, "ground_truth": [[target]]} for q in others]
        yield {
            "case_id": case,
            "subject": first.subject,
            "prompt": _prompt(first),
            "target_new": target,
            "ground_truth": [text for text in (first.original_answer, *first.aliases) if text],
            "rephrase_prompt": first.question,
            "portability": {SLOT: carried} if carried else {},
            "locality": {},
        }
        case += 1


def _prompt(record: QuestionRecord) -> str:
    stem = record.edit_fact.strip().removesuffix(".")
    answer = record.edited_answer.removesuffix(".")
    opened = stem.removesuffix(answer)
    return opened.strip() if opened != stem and opened.endswith(" ") else record.question
