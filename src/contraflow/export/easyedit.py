"""An evaluation file in EasyEdit's form: one edit per fact, with its questions as test prompts.

The questions concern what the edit changes, so an edited model must answer them with the edited
answer. The best question becomes the rephrased prompt; the others become portability prompts, which
test whether the edit carries over. The prompt of the edit is its statement up to the edited answer,
or the best question if the statement does not end with the edited answer.
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

SLOT = "Reasoning"  # the portability slot that EasyEdit's loader reads


def write(path: Path, chosen: Sequence[Chosen], _selection: Selection) -> int:
    """Write a JSON array and return the number of edits; skip facts without an edited answer."""
    rows = list(_rows([c.record for c in chosen]))
    write_atomically(path, msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
    return len(rows)


def _rows(records: Sequence[QuestionRecord]) -> Iterator[dict[str, Any]]:
    case_id = 0
    for _, group in groupby(records, key=lambda record: record.fact_id):
        first, *others = group
        if not first.edited_answer:
            continue
        target = first.edited_answer
        carried = [{"prompt": q.question, "ground_truth": [[target]]} for q in others]
        yield {
            "case_id": case_id,
            "subject": first.subject,
            "prompt": _prompt(first),
            "target_new": target,
            "ground_truth": [text for text in (first.original_answer, *first.aliases) if text],
            "rephrase_prompt": first.question,
            "portability": {SLOT: carried} if carried else {},
            "locality": {},
        }
        case_id += 1


def _prompt(record: QuestionRecord) -> str:
    stem = record.edit_fact.strip().removesuffix(".")
    answer = record.edited_answer.removesuffix(".")
    prompt = stem.removesuffix(answer)
    return prompt.strip() if prompt != stem and prompt.endswith(" ") else record.question
