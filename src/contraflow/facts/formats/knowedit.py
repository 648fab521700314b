"""EasyEdit's files: KnowEdit (ZsRE, WikiData counterfact and recent, WikiBio) and older ones.

- `prompt` is a question or a cloze prompt, and `target_new` is the edited answer.
- `ground_truth` is the original answer: a text, a list of spellings, or lists of spellings.
  WikiData recent contains news, without an original answer.
- A WikiBio row is a passage about a concept, with the sentence (`labels`) that becomes `edit_fact`.

The portability, locality and rephrased prompts test an edited model and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from contraflow.facts import Fact
from contraflow.facts.formats._clozes import statement_of_cloze
from contraflow.facts.formats._json_rows import first_row
from contraflow.facts.formats._published import Published, needed
from contraflow.facts.formats._questions import sentence, statement_of
from contraflow.facts.formats._rows import OnError, Skipped, is_question, without_question_prefix

Spellings = str | list[str | list[str]] | None
# ROME's loader writes this if no true answer is known.
_NO_ANSWER = "<|endoftext|>"


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An edit; only the first four fields are read."""

    subject: str
    prompt: str
    target_new: str
    ground_truth: Spellings = None
    rephrase: Any = None
    rephrase_prompt: Any = None
    locality: Any = None
    locality_prompt: Any = None
    locality_ground_truth: Any = None
    portability: Any = None
    cond: Any = None
    case_id: Any = None


class Passage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of WikiBio."""

    concept: str
    labels: str
    text: str = ""
    locality: Any = None


def _facts_of_edit(row: Row) -> Iterator[Mapping[str, object]]:
    subject = needed(row.subject, "subject")
    edited = needed(row.target_new, "target_new")
    prompt = without_question_prefix(needed(row.prompt, "prompt"))
    not_original = ("", _NO_ANSWER, edited)
    spellings = [text for text in _flattened(row.ground_truth) if text not in not_original]
    original = spellings[0] if spellings else ""
    yield {
        "subject": subject,
        "original_answer": original,
        "edited_answer": edited,
        "original_fact": _statement(prompt, subject, original) if original else "",
        "edit_fact": _statement(prompt, subject, edited),
        "question": prompt if is_question(prompt) else "",
        "aliases": list(dict.fromkeys(spellings[1:])),
    }


def _facts_of_passage(passage: Passage) -> Iterator[Mapping[str, object]]:
    concept = needed(passage.concept, "concept").replace("_", " ")
    yield {
        "subject": " ".join(concept.split()),
        "edit_fact": sentence(needed(passage.labels, "labels")),
    }


def _statement(prompt: str, subject: str, answer: str) -> str:
    make = statement_of if is_question(prompt) else statement_of_cloze
    return make(prompt, subject, answer)


def _flattened(spellings: Spellings) -> Iterator[str]:
    if isinstance(spellings, str):
        yield spellings.strip()
        return
    for item in spellings or ():
        yield from _flattened(item)  # type: ignore[arg-type]


_read_edits = Published("KnowEdit", Row, _facts_of_edit)
_read_passages = Published("KnowEdit (WikiBio)", Passage, _facts_of_passage)


def read(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    on_error: OnError = "raise",
    skipped: Skipped | None = None,
    ignore: Sequence[str] = (),
) -> Iterator[Fact]:
    """Stream the facts of a file of edits or of WikiBio passages.

    Raises: UserError, as `contraflow.facts.formats.convert`.
    """
    reader = _read_passages if "concept" in first_row(Path(path)) else _read_edits
    return reader(path, columns=columns, on_error=on_error, skipped=skipped, ignore=ignore)
