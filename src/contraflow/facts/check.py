"""Checks of a facts file (`contraflow data check`): defects that distort training or evaluation.

- A duplicate is counted twice.
- A question that leaks an answer can be answered without knowing the fact.
- An edited answer of another type than the original is not a plausible edit.
- A subject that cannot be recognized in a question makes every question off its subject.
- A malformed statement teaches malformed questions.

A check is a function of one fact, or of the whole table. It yields a message for every defect.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from contraflow.errors import on_one_line
from contraflow.facts import Fact
from contraflow.facts.edit import edit_from_row
from contraflow.facts.fact import (
    MAX_PROBLEMS_SHOWN,
    BadRowError,
    fact_lines,
    parse_line,
    same_id,
)
from contraflow.facts.json_values import decode_json
from contraflow.facts.misspelt import misspelt
from contraflow.facts.other_format import array_message, is_table, to_convert
from contraflow.text.alphabet import can_name
from contraflow.text.folding import caseless
from contraflow.text.match import is_number, mentions, same_answer
from contraflow.text.subjects import is_on_subject
from contraflow.text.tokens import normalize

# Thai, Lao, Myanmar, Khmer, Japanese kana and Chinese characters: whole words are compared, which
# these scripts do not set apart.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff]"
)
MAX_SUBJECT = 200
_TEXTS = ("subject", "edit_fact", "original_fact", "original_answer", "edited_answer", "question")
_YEAR = re.compile(r"1\d{3}|20\d{2}")


class Problem(NamedTuple):
    """A defect at a line of a file; `str` gives `file:line: message`."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class _Row(NamedTuple):
    line: int
    fact: Fact


def check_facts(path: str | Path, vocabulary: str = "latin") -> list[Problem]:
    """Return all problems of a facts file, sorted by line.

    vocabulary: `policy.vocabulary` of the run that the facts are for.

    Raises: UserError if the file cannot be read or is empty.
    """
    lines = fact_lines(path)
    if message := array_message(path, lines):
        return _whole(path, lines, message)
    rows: list[_Row] = []
    found: list[tuple[int, str]] = []
    for line, content in lines:
        try:
            rows.append(_Row(line, parse_line(content)))
            found.extend((line, message) for message in _keys(content))
        except BadRowError as error:
            found.append((line, str(error)))
    if not rows and (is_table(path) or len(found) > MAX_PROBLEMS_SHOWN):
        message = f"none of the {len(found)} lines is a fact (line {found[0][0]}: {found[0][1]})"
        return _whole(path, lines, to_convert(path, message))
    for row in rows:
        for fact_check in _FACT_CHECKS:
            found.extend((row.line, message) for message in fact_check(row.fact))
        found.extend((row.line, message) for message in _subject(row.fact.subject, vocabulary))
    for table_check in _TABLE_CHECKS:
        found.extend(table_check(rows))
    return [Problem(str(path), line, on_one_line(message)) for line, message in sorted(found)]


def _keys(content: bytes) -> Iterator[str]:
    """Check the keys of a line that is a fact: repeated ones, misspelt ones, those of an edit."""
    try:
        keys = [key for key, _ in json.loads(content, object_pairs_hook=_pairs)]
    except (ValueError, RecursionError):  # JSON of another kind than Python's
        keys = []
    for key, times in Counter(keys).items():
        if times > 1:
            yield f"has {key!r} {times} times, and only the last one counts"
    yield from misspelt(content)
    try:
        edit_from_row(decode_json(content))
    except BadRowError as error:
        yield str(error)


def _pairs(pairs: list[tuple[str, object]]) -> list[tuple[str, object]]:
    return pairs


def _whole(path: str | Path, lines: Sequence[tuple[int, bytes]], message: str) -> list[Problem]:
    """The only problem of a file in another format."""
    return [Problem(str(path), lines[0][0], on_one_line(message))]


def _statement_form(fact: Fact) -> Iterator[str]:
    for field in ("edit_fact", "original_fact"):
        text = getattr(fact, field)
        if text and not text.endswith("."):
            yield f"'{field}' does not end with a full stop: {text!r}"
        if text[:1].islower():
            yield f"'{field}' does not start with a capital: {text!r}"
        if "  " in text:
            yield f"'{field}' has two spaces in a row: {text!r}"


def _one_line(fact: Fact) -> Iterator[str]:
    """Check that a text does not break the line of a prompt, nor hide a sign in it."""
    for field in _TEXTS:
        text = getattr(fact, field)
        if any(unicodedata.category(sign) == "Cc" for sign in text):
            yield f"{field!r} has a line break, a tab or another control character: {text!r}"


def _statement_content(fact: Fact) -> Iterator[str]:
    """Check that the edit names the subject, each statement its answer, and that the two differ."""
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


def _subject(subject: str, vocabulary: str) -> Iterator[str]:
    """Check that a sampler can name the subject, and that a question that does is recognized."""
    if len(subject) > MAX_SUBJECT:
        yield (
            f"'subject' has {len(subject)} characters, and no question that names it is that long; "
            "give its name alone"
        )
    if not is_on_subject(f"What is {subject}?", subject):
        yield (
            f"'subject' {subject!r} has no letters or digits that can be compared, so no question "
            "is ever on its subject; name it in words"
        )
    elif not can_name(subject, vocabulary):
        yield f"'subject' {subject!r} {cannot_be_written(vocabulary)}"
    elif _UNSPACED.search(subject):
        yield (
            f"'subject' {subject!r} is in a script without spaces between words, so a question is "
            "on its subject only with spaces around it; name it in another script"
        )


def cannot_be_written(vocabulary: str) -> str:
    """Return what is said of a subject that `policy.vocabulary` cannot write, with the remedy."""
    return (
        f"cannot be written in policy.vocabulary={vocabulary}, so no question of the sampler is "
        "ever on its subject; name it in Latin letters, or use policy=all_tokens"
    )


def unwritable_note(facts: Sequence[Fact], vocabulary: str) -> str | None:
    """One sentence about facts whose subject a sampler cannot write; None where there is none."""
    found = [fact.subject for fact in facts if not can_name(fact.subject, vocabulary)]
    if not found:
        return None
    others = f" (and {len(found) - 1} of the other {len(facts) - 1} subjects)" if found[1:] else ""
    return f"the subject {found[0]!r}{others} {cannot_be_written(vocabulary)}"


def _leaks(fact: Fact) -> Iterator[str]:
    original = fact.original_answer
    edited = fact.edited_answer
    spellings = (original, *fact.aliases)
    if original and edited and any(same_answer(edited, spelling) for spelling in spellings):
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
    first: dict[str, _Row] = {}
    for row in rows:
        earlier = first.setdefault(row.fact.fact_id, row)
        place = f"line {earlier.line}"
        if earlier.fact != row.fact:
            yield row.line, f"same fact_id as {place}: {same_id(row.fact, earlier.fact, place)}"
        elif earlier is not row:
            yield row.line, f"same fact_id as {place}, and the same fact; keep one of them"
    key_functions: dict[str, Callable[[Fact], object]] = {
        "subject and relation": _subject_and_relation,
        "edit_fact": lambda fact: normalize(fact.edit_fact),
    }
    for name, key_of in key_functions.items():
        first_line: dict[object, int] = {}
        for line, fact in rows:
            key = key_of(fact)
            if key and first_line.setdefault(key, line) != line:
                yield line, f"same {name} as line {first_line[key]}; keep one of them"


def _subject_and_relation(fact: Fact) -> tuple[str, str] | None:
    return (caseless(fact.subject), fact.relation) if fact.relation else None


def _wrong_types(rows: Sequence[_Row]) -> Iterator[tuple[int, str]]:
    """Find answers whose kind is rare among the original answers of their relation."""
    rows_of: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        if row.fact.relation:
            rows_of[row.fact.relation].append(row)
    for relation, relation_rows in rows_of.items():
        originals = [row.fact.original_answer for row in relation_rows if row.fact.original_answer]
        common = _common_kinds(originals)
        if not common:
            continue
        expected = " or a ".join(sorted(common))
        for line, fact in relation_rows:
            for field in ("original_answer", "edited_answer"):
                answer = getattr(fact, field)
                kind = answer_kind(answer)
                if answer and kind not in common:
                    yield (
                        line,
                        f"'{field}' {answer!r} is a {kind}, "
                        f"but answers of '{relation}' are a {expected}",
                    )


def _common_kinds(answers: Sequence[str]) -> set[str]:
    """Return the kinds of at least one answer in thirty; a rarer kind is taken for a mistake."""
    counts = Counter(answer_kind(answer) for answer in answers)
    return {kind for kind, count in counts.items() if count * 30 >= len(answers)}


def answer_kind(answer: str) -> str:
    """Classify an answer as "year", "number", "name" (has a capital) or "word" (lower case)."""
    bare = normalize(answer)
    if _YEAR.fullmatch(bare):
        return "year"
    if is_number(bare):
        return "number"
    return "name" if any(char.isupper() for char in answer) else "word"


_FACT_CHECKS = (_statement_form, _one_line, _statement_content, _leaks)
_TABLE_CHECKS = (_duplicates, _wrong_types)
