"""EasyEdit's files: KnowEdit (ZsRE, WikiData counterfact and recent, WikiBio) and older ones.

- `prompt` is a question or a cloze prompt, and `target_new` is the edited answer.
- `ground_truth` is the original answer: a text, a list of spellings, or lists of spellings.
  WikiData recent contains news, without an original answer.
- A WikiBio row is a passage about a concept, with the sentence (`labels`) that becomes `edit_fact`.

- QAEdit's rows (Yang et al. 2025) have `target` in place of `target_new`, and no original answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from contraflow.facts.formats._clozes import statement_of_cloze
from contraflow.facts.formats._json_rows import first_row
from contraflow.facts.formats._probes import TestPrompts, spellings_of
from contraflow.facts.formats._published import Published, needed
from contraflow.facts.formats._questions import sentence, statement_of
from contraflow.facts.formats._rows import RowSource
from contraflow.facts.formats._texts import is_question, without_question_prefix

Spellings = str | list[str | list[str]] | None


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An edit; `cond` and `case_id` are not read."""

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


class QuestionRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of QAEdit."""

    subject: str
    prompt: str
    target: str
    ground_truth: Spellings = None
    rephrase: Any = None
    locality: Any = None
    portability: Any = None
    case_id: Any = None


class Passage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of WikiBio."""

    concept: str
    labels: str
    text: str = ""
    locality: Any = None


def _edits_of_row(row: Row) -> Iterator[Mapping[str, object]]:
    tests = TestPrompts()
    tests.add_paraphrases("rephrase", row.rephrase)
    tests.add_paraphrases("rephrase_prompt", row.rephrase_prompt)
    tests.add("locality", "locality/neighborhood", row.locality_prompt, row.locality_ground_truth)
    tests.add_tests("locality", row.locality)
    tests.add_tests("portability", row.portability)
    yield edit_row(row.subject, row.prompt, row.target_new, row.ground_truth, tests)


def _edits_of_question_row(row: QuestionRow) -> Iterator[Mapping[str, object]]:
    tests = TestPrompts()
    tests.add_paraphrases("rephrase", row.rephrase)
    tests.add_tests("locality", row.locality)
    tests.add_tests("portability", row.portability)
    yield edit_row(row.subject, row.prompt, row.target, row.ground_truth, tests)


def edit_row(
    subject: str, prompt: str, edited: str, ground_truth: Spellings, tests: TestPrompts
) -> Mapping[str, object]:
    """Return the row of an edit that is given by a prompt or question and its new answer.

    Raises: BadRowError if a field is empty.
    """
    subject = needed(subject, "subject")
    edited = needed(edited, "target_new")
    prompt = without_question_prefix(needed(prompt, "prompt"))
    spellings = [text for text in spellings_of(ground_truth) if text != edited]
    original = spellings[0] if spellings else ""
    tests.find_subject_aliases(prompt, subject)
    return {
        "subject": subject,
        "original_answer": original,
        "edited_answer": edited,
        "original_fact": _statement(prompt, subject, original) if original else "",
        "edit_fact": _statement(prompt, subject, edited),
        "question": prompt if is_question(prompt) else "",
        "aliases": list(dict.fromkeys(spellings[1:])),
        "prompt": prompt,
        **tests.fields(),
    }


def _edits_of_passage(passage: Passage) -> Iterator[Mapping[str, object]]:
    concept = needed(passage.concept, "concept").replace("_", " ")
    tests = TestPrompts()
    tests.add_tests("locality", passage.locality)
    yield {
        "subject": " ".join(concept.split()),
        "edit_fact": sentence(needed(passage.labels, "labels")),
        "prompt": passage.text,
        **tests.fields(),
    }


def _statement(prompt: str, subject: str, answer: str) -> str:
    make = statement_of if is_question(prompt) else statement_of_cloze
    return make(prompt, subject, answer)


_read_edits = Published("KnowEdit", Row, _edits_of_row)
_read_questions = Published("QAEdit", QuestionRow, _edits_of_question_row)
_read_passages = Published("KnowEdit (WikiBio)", Passage, _edits_of_passage)


def read(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> RowSource:
    """Stream the rows of a file of edits or of WikiBio passages.

    Raises: UserError, as `contraflow.facts.formats.convert`.
    """
    first = first_row(Path(path))
    reader: Callable[..., RowSource] = _read_edits
    if "concept" in first:
        reader = _read_passages
    elif "target" in first:
        reader = _read_questions
    return reader(path, columns=columns, ignore=ignore)
