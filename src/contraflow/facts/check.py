"""What `contraflow data check` looks for in a facts file: all that would teach or measure the wrong
thing.

A duplicate is counted twice, a leak is a question that a model answers without knowing, an edited
answer of another type is no plausible edit, and a ragged statement teaches ragged questions. Each
check is a function of one fact (or of the whole table) that yields messages; none of them stops at
the first.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from contraflow.facts import Fact
from contraflow.facts.fact import BadRowError, numbered_lines, parse_line
from contraflow.text.match import is_number, mentions, normalize, same_answer

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
    """All problems of a facts file, in the order of its lines; a `UserError` if it cannot be read
    at all.
    """
    rows: list[_Row] = []
    found: list[tuple[int, str]] = []
    for line, content in numbered_lines(path):
        try:
            rows.append(_Row(line, parse_line(content)))
        except BadRowError as error:
            found.append((line, str(error)))
    found += [
        (row.line, message) for row in rows for check in _FACT_CHECKS for message in check(row.fact)
    ]
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


def _statement_content(fact: Fact) -> Iterator[str]:
    """Both statements are about the subject and give the answer they should, and they differ."""
    if not mentions(fact.edit_fact, fact.subject):
        yield f"'edit_fact' does not name the subject {fact.subject!r}"
    if fact.edited_answer and not mentions(fact.edit_fact, fact.edited_answer):
        yield f"'edit_fact' does not name the edited answer {fact.edited_answer!r}"
    if not fact.original_fact:
        return
    if fact.original_answer and not mentions(
        fact.original_fact, fact.original_answer, fact.aliases
    ):
        yield f"'original_fact' does not name the original answer {fact.original_answer!r}"
    if normalize(fact.original_fact) == normalize(fact.edit_fact):
        yield "'original_fact' and 'edit_fact' say the same: nothing is edited"


def _leaks(fact: Fact) -> Iterator[str]:
    original, edited = fact.original_answer, fact.edited_answer
    if (
        original
        and edited
        and any(same_answer(edited, spelling) for spelling in (original, *fact.aliases))
    ):
        yield f"the edited answer {edited!r} is the original answer, or an alias of it"
    if mentions(fact.subject, original, fact.aliases):
        yield f"the subject {fact.subject!r} contains the original answer {original!r}"
    if mentions(fact.edit_fact, original, fact.aliases):
        yield f"'edit_fact' names the original answer {original!r} or an alias of it"
    if mentions(fact.question, original, fact.aliases):
        yield f"'question' names the original answer {original!r}"
    if mentions(fact.question, edited):
        yield f"'question' names the edited answer {edited!r}"
    if fact.question and not mentions(fact.question, fact.subject):
        yield f"'question' does not name the subject {fact.subject!r}"


def _duplicates(rows: Sequence[_Row]) -> Iterator[tuple[int, str]]:
    keys: tuple[tuple[str, Callable[[Fact], object]], ...] = (
        ("fact_id", lambda fact: fact.fact_id),
        (
            "subject and relation",
            lambda fact: fact.relation and (fact.subject.casefold(), fact.relation),
        ),
        ("edit_fact", lambda fact: normalize(fact.edit_fact)),
    )
    for what, key_of in keys:
        first_line: dict[object, int] = {}
        for line, fact in rows:
            key = key_of(fact)
            if key and first_line.setdefault(key, line) != line:
                yield line, f"same {what} as line {first_line[key]}; keep one of them"


def _wrong_types(rows: Sequence[_Row]) -> Iterator[tuple[int, str]]:
    """Answers must be of a type that is common among the original answers of their relation."""
    facts_of: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        facts_of[row.fact.relation].append(row)
    facts_of.pop("", None)
    for relation, its_rows in facts_of.items():
        common = _common_kinds(
            [row.fact.original_answer for row in its_rows if row.fact.original_answer]
        )
        for line, fact in its_rows:
            for field in ("original_answer", "edited_answer"):
                answer = getattr(fact, field)
                if answer and common and (kind := answer_kind(answer)) not in common:
                    expected = " or a ".join(sorted(common))
                    yield (
                        line,
                        f"'{field}' {answer!r} is a {kind}, but answers of '{relation}' are a {expected}",
                    )


def _common_kinds(answers: Sequence[str]) -> set[str]:
    """The kinds of at least one answer in thirty: a lone stranger among many is a slip, not a type."""
    counts = Counter(answer_kind(answer) for answer in answers)
    return {kind for kind, count in counts.items() if count * 30 >= len(answers)}


def answer_kind(answer: str) -> str:
    """Roughly what an answer is: "year", "number", "name" (capitalized) or "word" (lower case)."""
    bare = normalize(answer)
    if _YEAR.fullmatch(bare):
        return "year"
    if is_number(bare):
        return "number"
    return "name" if any(char.isupper() for char in answer) else "word"


_FACT_CHECKS = (_missing_fields, _statement_form, _statement_content, _leaks)
_TABLE_CHECKS = (_duplicates, _wrong_types)
