"""zsRE edits: the JSON of MEND and ROME, MEND's training lines, and the prototype's pickle.

- `zsre_mend_eval.json`, `zsre_mend_train.json`: `src` is a question about `subject`, `answers` are
  the true answers, and `alt` is the edited answer. A row without `alt` is an error; on_error=skip
  skips it.
- MEND's and KE's JSON lines: `input` is the question, `output` has the true answers, and the first
  of `alternatives` is the edited answer. The subject is the title of the page of an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from contraflow.facts.fact import NO_ANSWER, BadRowError
from contraflow.facts.formats import zsre_pickle
from contraflow.facts.formats._json_rows import first_row
from contraflow.facts.formats._probes import TestPrompts
from contraflow.facts.formats._published import Published, needed
from contraflow.facts.formats._questions import statement_of
from contraflow.facts.formats._rows import RowSource
from contraflow.facts.formats._texts import without_question_prefix

PICKLES = (".pkl", ".pickle")


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the JSON files; `pred` and `cond` are not read."""

    subject: str
    src: str
    alt: str
    answers: list[str]
    pred: Any = None
    rephrase: Any = None
    loc: Any = None
    loc_ans: Any = None
    cond: Any = None
    case_id: Any = None
    portability: Any = None  # in EasyEdit's copy


class Page(msgspec.Struct, frozen=True):
    """The source page of an answer; the other fields of KILT are not read."""

    title: str = ""


class Output(msgspec.Struct, frozen=True):
    """An accepted answer; the other fields of KILT are not read."""

    answer: str = ""
    provenance: list[Page] = []


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of MEND's and KE's training files."""

    input: str
    output: list[Output]
    alternatives: list[str]
    prediction: Any = None
    filtered_rephrases: Any = None
    rephrases: Any = None
    logit: Any = None
    meta: Any = None
    id: Any = None


def question_fact(
    subject: str, question: str, answers: list[str], edited: str
) -> dict[str, object]:
    """Return the row of a fact given by a question, its true answers and an edited answer.

    The first true answer is the original answer, the others are its aliases. A placeholder for none
    is no answer.
    """
    question = without_question_prefix(question)
    answers = [answer for answer in answers if answer != NO_ANSWER]
    original = answers[0] if answers else ""
    return {
        "subject": subject,
        "original_answer": original,
        "edited_answer": edited,
        "original_fact": statement_of(question, subject, original) if original else "",
        "edit_fact": statement_of(question, subject, edited),
        "question": question,
        "aliases": list(dict.fromkeys(answers[1:])),
        "prompt": question,
    }


def _edits_of_row(row: Row) -> Iterator[Mapping[str, object]]:
    if not row.answers:
        raise BadRowError("field 'answers' is empty; an edit needs a true answer to deny")
    tests = TestPrompts()
    tests.add_paraphrases("rephrase", row.rephrase)
    tests.add("locality", "locality/natural_questions", row.loc, row.loc_ans)
    tests.add_tests("portability", row.portability)
    fields = question_fact(
        needed(row.subject, "subject"),
        needed(row.src, "src"),
        [needed(answer, "answers") for answer in row.answers],
        needed(row.alt, "alt"),
    )
    yield fields | tests.fields()


def _edits_of_line(line: Line) -> Iterator[Mapping[str, object]]:
    answers = [output.answer for output in line.output if output.answer]
    subject = _title_in_question(line)
    if not answers:
        raise BadRowError("field 'output' has no answer; an edit needs a true answer to deny")
    if not line.alternatives:
        raise BadRowError("field 'alternatives' is empty; a row needs an edited answer")
    tests = TestPrompts()
    tests.add_paraphrases("rephrases", line.filtered_rephrases or line.rephrases)
    fields = question_fact(
        needed(subject, "output.provenance.title (named in the question)"),
        needed(line.input, "input"),
        answers,
        needed(line.alternatives[0], "alternatives"),
    )
    yield fields | tests.fields()


def _title_in_question(line: Line) -> str:
    """Return the first page title that the question names; empty if there is none."""
    question = line.input.casefold()
    for output in line.output:
        for page in output.provenance:
            if page.title and page.title.casefold() in question:
                return page.title
    return ""


_read_rows = Published("zsRE (MEND/ROME JSON)", Row, _edits_of_row)
_read_lines = Published("zsRE (MEND JSON lines)", Line, _edits_of_line)


def read(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
) -> RowSource:
    """Stream the rows of a zsRE file: JSON, JSON lines or pickle.

    Raises: UserError, as `contraflow.facts.formats.convert`.
    """
    path = Path(path)
    if path.suffix.lower() in PICKLES:
        return zsre_pickle.read(path, columns=columns)
    reader = _read_lines if {"input", "output"} <= first_row(path).keys() else _read_rows
    return reader(path, columns=columns, ignore=ignore)
