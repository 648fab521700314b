"""Facts: what one is, how a file of them is read and written, and how they are split.

A file of facts is JSONL, one fact a line, UTF-8. Only `subject` and `edit_fact` must be there; a
`fact_id` that is missing is derived from those two, so that the same fact has the same id in every
process and on every machine. Unknown keys are ignored, because people keep their own columns beside
ours.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from contraflow.errors import UserError
from contraflow.system.files import refusal, whole_file

MAX_PROBLEMS_SHOWN = 10
HELD_OUT_RELATION_SHARE = 0.12  # chance that a relation which may be held out is
MAX_HELD_OUT_FACT_SHARE = (
    0.3  # a file of few relations must not lose most of its facts to that test
)
VALIDATION_SHARE = 0.1
TEST_SHARE = 0.1


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One counterfactual statement about a subject, and as much as is known about the truth it
    denies.
    """

    fact_id: str
    subject: str
    edit_fact: str
    original_fact: str = ""
    relation: str = ""
    original_answer: str = ""
    edited_answer: str = ""
    question: str = (
        ""  # a plain question whose right answer is `original_answer`: what `filter-known` asks
    )
    aliases: tuple[str, ...] = ()  # other accepted spellings of `original_answer`


class Splits(NamedTuple):
    """Four disjoint parts of one set of facts: no subject is in two of them."""

    train: tuple[Fact, ...]
    validation: tuple[Fact, ...]
    test: tuple[Fact, ...]
    test_relations: tuple[Fact, ...]  # whole relations that no other part contains


class BadRowError(ValueError):
    """A row that is not a fact; the message has no file or line, which only the reader knows."""


_OPTIONAL_TEXT = ("original_fact", "relation", "original_answer", "edited_answer", "question")


def fact_id_for(subject: str, edit_fact: str) -> str:
    """16 hex digits that depend on the two strings only (Python's `hash` is salted per process)."""
    return hashlib.blake2b(f"{subject}\0{edit_fact}".encode(), digest_size=8).hexdigest()


def fact_from_row(row: object) -> Fact:
    """Make a fact of one decoded row, or raise `BadRowError`: what is wrong with it and the remedy."""
    if not isinstance(row, dict):
        raise BadRowError(
            f"expected a JSON object, got {_kind(row)}; write one {{...}} object a line"
        )
    subject = _required_text(row, "subject")
    edit_fact = _required_text(row, "edit_fact")
    optional = {key: _text(row, key) for key in _OPTIONAL_TEXT}
    fact_id = _text(row, "fact_id") or fact_id_for(subject, edit_fact)
    return Fact(
        fact_id=fact_id, subject=subject, edit_fact=edit_fact, aliases=_aliases(row), **optional
    )


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRowError(f"'{key}' must be a string, got {_kind(value)}; put it in quotes")
    return value.strip()


def _required_text(row: dict[str, Any], key: str) -> str:
    if key not in row:
        raise BadRowError(f"'{key}' is missing; every fact needs a subject and an edit_fact")
    text = _text(row, key)
    if not text:
        raise BadRowError(f"'{key}' is empty; fill it in or delete the line")
    return text


def _aliases(row: dict[str, Any]) -> tuple[str, ...]:
    value = row.get("aliases")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(alias, str) for alias in value):
        raise BadRowError("'aliases' must be a list of strings")
    return tuple(alias.strip() for alias in value if alias.strip())


def _kind(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true/false",
        type(None): "null",
    }
    names |= {int: "a number", float: "a number"}
    return names.get(type(value), "something else")


def numbered_lines(path: str | Path) -> list[tuple[int, bytes]]:
    """The non-blank lines of a file with their numbers from 1; a `UserError` if there are none."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such facts file; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name the .jsonl file in it") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise UserError(
            f"{path}: is empty; it needs one JSON object a line with subject and edit_fact"
        )
    return numbered


def parse_line(line: bytes) -> Fact:
    """One line of a facts file as a fact; `BadRowError` if it is not JSON, not UTF-8 or not a fact."""
    try:
        row = msgspec.json.decode(line)
    except UnicodeDecodeError:
        raise BadRowError("is not UTF-8 text; save the file as UTF-8") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRowError(f"is not valid JSON ({error}); write one JSON object a line") from None
    return fact_from_row(row)


def read_facts(path: str | Path) -> list[Fact]:
    """Read a facts file, or raise one `UserError` listing its first ten problems as `file:line: …`."""
    facts: list[Fact] = []
    problems: list[str] = []
    for number, line in numbered_lines(path):
        try:
            facts.append(parse_line(line))
        except BadRowError as error:
            problems.append(f"{path}:{number}: {error}")
    if problems:
        raise UserError(shorten(problems))
    return facts


def shorten(problems: Sequence[str], limit: int = MAX_PROBLEMS_SHOWN) -> str:
    """The first `limit` problems, one a line, and how many more there are: all at once, but
    readable.
    """
    shown = list(problems[:limit])
    hidden = len(problems) - len(shown)
    return "\n".join([*shown, f"… and {hidden} more problems"] if hidden else shown)


def write_facts(path: str | Path, facts: Iterable[Fact]) -> int:
    """Write facts as JSONL, return how many; renamed at the end, so that no reader sees half a
    file.
    """
    path, count = Path(path), 0
    try:
        with whole_file(path) as file:
            for fact in facts:
                file.write(msgspec.json.encode(fact) + b"\n")
                count += 1
    except OSError as error:
        raise refusal(path, error) from None
    return count


def default_facts() -> list[Fact]:
    """The facts shipped in the package."""
    shipped = resources.files("contraflow") / "assets" / "facts.jsonl"
    with resources.as_file(shipped) as path:
        return read_facts(path)


def split_facts(facts: Iterable[Fact]) -> Splits:
    """Split by hash of the subject, after whole relations have been held out.

    Neither the order of the facts nor the process matters, and a fact that is dropped or added
    moves no other subject between train, validation and test. Subjects are compared case-folded.
    """
    facts = list(facts)
    held_out = held_out_relations(facts)
    parts: dict[str, list[Fact]] = {name: [] for name in Splits._fields}
    for fact in facts:
        part = "test_relations" if fact.relation in held_out else _part_of(fact.subject)
        parts[part].append(fact)
    return Splits(**{name: tuple(part) for name, part in parts.items()})


def held_out_relations(facts: Sequence[Fact]) -> frozenset[str]:
    """The relations of the relation-disjoint test: their names hash below
    `HELD_OUT_RELATION_SHARE`.

    A relation may be held out only if none of its subjects has a fact under another relation:
    otherwise either that subject or that relation would be seen in training. In the order of their
    hashes, relations are held out while they take no more than `MAX_HELD_OUT_FACT_SHARE` of the
    facts. Facts without a relation never are.
    """
    relations_of: defaultdict[str, set[str]] = defaultdict(set)
    for fact in facts:
        relations_of[fact.subject.casefold()].add(fact.relation)
    shared = {
        relation
        for relations in relations_of.values()
        if len(relations) > 1
        for relation in relations
    }
    sizes = Counter(fact.relation for fact in facts)
    chosen: set[str] = set()
    room = MAX_HELD_OUT_FACT_SHARE * len(facts)
    for relation in sorted(
        sizes.keys() - shared - {""}, key=lambda name: _unit_hash("relation", name)
    ):
        if _unit_hash("relation", relation) < HELD_OUT_RELATION_SHARE and sizes[relation] <= room:
            chosen.add(relation)
            room -= sizes[relation]
    return frozenset(chosen)


def _part_of(subject: str) -> str:
    point = _unit_hash("subject", subject.casefold())
    if point < TEST_SHARE:
        return "test"
    return "validation" if point < TEST_SHARE + VALIDATION_SHARE else "train"


def _unit_hash(kind: str, text: str) -> float:
    """A number in [0, 1) that depends on the strings only."""
    digest = hashlib.blake2b(f"{kind}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
