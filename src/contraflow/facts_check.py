"""What `contraflow data check` looks for in a facts file: anything that would teach or measure the wrong thing.

A duplicate is counted twice, a leak is a question that a model answers without knowing, an edited answer of
another type is no plausible edit, and a ragged statement teaches ragged questions. Each check is a function of
one fact (or of the whole table) that yields messages; none of them stops at the first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from contraflow.facts import BadRowError, Fact, numbered_lines, parse_line
from contraflow.text_match import names, normalise, same, words

_NEEDED = ("relation", "original_fact", "original_answer", "edited_answer")
_YEAR = re.compile(r"1\d{3}|20\d{2}")


class Problem(NamedTuple):
    """One thing to mend; prints as `file:line: message`."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class _Row(NamedTuple):
    line: int
    fact: Fact


def check_facts(path: str | Path) -> list[Problem]:
    """All problems of a facts file, in the order of its lines; a `UserError` only if it cannot be read at all."""
    rows: list[_Row] = []
    found: list[tuple[int, str]] = []
    for line, content in numbered_lines(path):
        try:
            rows.append(_Row(line, parse_line(content)))
        except BadRowError as error:
            found.append((line, str(error)))
    found += [(row.line, message) for row in rows for check in _FACT_CHECKS for message in check(row.fact)]
    found += [problem for table_check in _TABLE_CHECKS for problem in table_check(rows)]
    return [Problem(str(path), line, message) for line, message in sorted(found)]


def _missing_fields(fact: Fact) -> Iterator[str]:
    for field in _NEEDED:
        if not getattr(fact, field):
            yield f"'{field}' is missing or empty; training works without it, evaluation and filtering do not"


def _statement_form(fact: Fact) -> Iterator[str]:
    for field in ("edit_fact", "original_fact"):
        text = getattr(fact, field)
        if text and not text.endswith("."):
            yield f"'{field}' does not end with a full stop: {text!r}"
        if text[:1].islower():
            yield f"'{field}' does not start with a capital: {text!r}"
        if "  " in text:
            yield f"'{field}' has two spaces in a row: {text!r}"
    if fact.question and not fact.question.endswith("?"):
        yield f"'question' does not end with a question mark: {fact.question!r}"


def _statement_content(fact: Fact) -> Iterator[str]:
    """Both statements are about the subject and give the answer they should, and they differ."""
    if not names(fact.edit_fact, fact.subject):
        yield f"'edit_fact' does not name the subject {fact.subject!r}"
    if fact.edited_answer and not names(fact.edit_fact, fact.edited_answer):
        yield f"'edit_fact' does not name the edited answer {fact.edited_answer!r}"
    if not fact.original_fact:
        return
    if fact.original_answer and not names(fact.original_fact, fact.original_answer, fact.aliases):
        yield f"'original_fact' does not name the original answer {fact.original_answer!r}"
    if normalise(fact.original_fact) == normalise(fact.edit_fact):
        yield "'original_fact' and 'edit_fact' say the same: nothing is edited"


def _leaks(fact: Fact) -> Iterator[str]:
    original, edited = fact.original_answer, fact.edited_answer
    if original and edited and any(same(edited, spelling) for spelling in (original, *fact.aliases)):
        yield f"the edited answer {edited!r} is the original answer, or an alias of it"
    if names(fact.subject, original, fact.aliases):
        yield f"the subject {fact.subject!r} contains the original answer {original!r}"
    if names(fact.edit_fact, original) and not names(edited, original):
        yield f"'edit_fact' names the original answer {original!r}"
    if names(fact.question, original, fact.aliases):
        yield f"'question' names the original answer {original!r}"
    if names(fact.question, edited):
        yield f"'question' names the edited answer {edited!r}"
    if fact.question and not names(fact.question, fact.subject):
        yield f"'question' does not name the subject {fact.subject!r}"


def _duplicates(rows: Sequence[_Row]) -> Iterator[tuple[int, str]]:
    keys: tuple[tuple[str, Callable[[Fact], object]], ...] = (
        ("fact_id", lambda fact: fact.fact_id),
        ("subject and relation", lambda fact: fact.relation and (fact.subject.casefold(), fact.relation)),
        ("edit_fact", lambda fact: normalise(fact.edit_fact)),
    )
    for what, key_of in keys:
        first_line: dict[object, int] = {}
        for line, fact in rows:
            key = key_of(fact)
            if key and first_line.setdefault(key, line) != line:
                yield line, f"same {what} as line {first_line[key]}; keep one of them"


def _wrong_types(rows: Sequence[_Row]) -> Iterator[tuple[int, str]]:
    """An edited answer must be of a type that some original answer of its relation is of."""
    kinds_of: defaultdict[str, set[str]] = defaultdict(set)
    for _, fact in rows:
        if fact.original_answer:
            kinds_of[fact.relation].add(answer_kind(fact.original_answer))
    for line, fact in rows:
        kinds = kinds_of[fact.relation]
        kind = answer_kind(fact.edited_answer)
        if fact.relation and fact.edited_answer and kinds and kind not in kinds:
            expected = " or ".join(sorted(kinds))
            yield line, f"edited answer {fact.edited_answer!r} is a {kind}; {fact.relation} has {expected}"


def answer_kind(answer: str) -> str:
    """Roughly what an answer is: "year", "number", "name" (capitalised) or "word" (lower case)."""
    bare = normalise(answer)
    if _YEAR.fullmatch(bare):
        return "year"
    if bare.isdigit() or any(same(bare, str(number)) for number in (*range(21), *range(30, 100, 10))):
        return "number"
    return "name" if any(word[0].isupper() for word in words(answer)) else "word"


_FACT_CHECKS = (_missing_fields, _statement_form, _statement_content, _leaks)
_TABLE_CHECKS = (_duplicates, _wrong_types)
