"""The fact record; reading and writing of fact files.

A facts file is JSONL in UTF-8, one fact per line. Only `subject` and `edit_fact` are required. A
missing `fact_id` is derived from these two, so that a fact has the same id in every process and on
every machine. Unknown keys are ignored, because users keep columns of their own in these files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from contraflow.errors import UserError, on_one_line
from contraflow.facts.encoding import HEAD_BYTES, UTF8_BOM, refuse_utf16
from contraflow.facts.json_values import Infinity, NaN, decode_json
from contraflow.facts.other_format import array_message, is_table, to_convert
from contraflow.system.files import write_lines
from contraflow.system.input_file import require_file

MAX_PROBLEMS_SHOWN = 10


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A counterfactual statement about a subject and, if known, the true statement it denies.

    Raises: UserError for a field of another type than its own.
    """

    fact_id: str
    subject: str
    edit_fact: str
    original_fact: str = ""
    relation: str = ""
    original_answer: str = ""
    edited_answer: str = ""
    # A plain question with the right answer `original_answer`; `filter-known` uses it.
    question: str = ""
    # Other accepted spellings of `original_answer`.
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str):
                raise UserError(f"Fact: {name}={value!r}: must be a text")
        aliases = self.aliases
        if not isinstance(aliases, tuple) or not all(isinstance(alias, str) for alias in aliases):
            raise UserError(f"Fact: aliases={aliases!r}: must be a tuple of texts")

    @property
    def content_hash(self) -> str:
        """16 hex digits of all fields, the same in every process.

        Empty fields are left out, so that a field that is added later changes no hash.
        """
        filled = {name: value for name, value in msgspec.structs.asdict(self).items() if value}
        return hashlib.blake2b(msgspec.json.encode(filled), digest_size=8).hexdigest()

    @property
    def key(self) -> str:
        """The name of this fact for scores and replay: `fact_id` and `content_hash`.

        Two facts with one `fact_id`, of different files or before and after a correction, have
        different keys.
        """
        return f"{self.fact_id}#{self.content_hash}"


class BadRowError(ValueError):
    """A row that is not a fact; the reader of the file adds path and line to the message."""


# What data sets write where there is no answer (zsRE in EasyEdit's copy).
NO_ANSWER = "<|endoftext|>"
_OPTIONAL_TEXT = ("original_fact", "relation", "original_answer", "edited_answer", "question")
_TEXTS = ("fact_id", "subject", "edit_fact", *_OPTIONAL_TEXT)


def fact_id_for(subject: str, edit_fact: str) -> str:
    """Return 16 hex digits that depend only on the two strings, unlike Python's salted `hash`."""
    content = f"{subject}\0{edit_fact}".encode(errors="surrogatepass")
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def fact_from_row(row: object) -> Fact:
    """Convert one decoded row to a fact.

    Raises: BadRowError that names the defect and the remedy.
    """
    if not isinstance(row, dict):
        raise BadRowError(
            f"expected a JSON object, got {_kind(row)}; write one {{...}} object per line"
        )
    subject = _required_text(row, "subject")
    edit_fact = _required_text(row, "edit_fact")
    optional = _without_placeholders({key: _text(row, key) for key in _OPTIONAL_TEXT})
    fact_id = _text(row, "fact_id") or fact_id_for(subject, edit_fact)
    return Fact(
        fact_id=fact_id, subject=subject, edit_fact=edit_fact, aliases=_aliases(row), **optional
    )


def _without_placeholders(texts: dict[str, str]) -> dict[str, str]:
    """No answer in place of a placeholder for none, and no statement that is made of one."""
    return {key: "" if NO_ANSWER in text else text for key, text in texts.items()}


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRowError(f"'{key}' must be a string, got {_kind(value)}; put it in quotes")
    return _without_surrogates(value, key).strip()


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
    return tuple(_without_surrogates(alias, "aliases").strip() for alias in value if alias.strip())


def _without_surrogates(text: str, key: str) -> str:
    """Check that a text is one: half of a surrogate pair has no UTF-8 and no meaning."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise BadRowError(
            f"'{key}' has half of a character ({half}, a lone surrogate): {text!r}; "
            "write the whole character, or leave the row out"
        ) from None
    return text


def _kind(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true/false",
        int: "a number",
        float: "a number",
        NaN: "NaN",
        Infinity: "Infinity",
        type(None): "null",
    }
    return names.get(type(value), "something else")


def fact_lines(path: str | Path) -> list[tuple[int, bytes]]:
    """`numbered_lines` of a facts file.

    Raises: UserError for what is not the path of a file that can be read again.
    """
    if not isinstance(path, str | PathLike):
        raise UserError(f"facts={path!r}: must be the path of a facts file")
    path = Path(path).expanduser()
    require_file(path, of="facts file")
    return numbered_lines(path)


def numbered_lines(path: str | Path) -> list[tuple[int, bytes]]:
    """Return (line number from 1, content) of the non-blank lines of a file, without a UTF-8 BOM.

    Raises: UserError if the file cannot be read or has no such line.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name the .jsonl file in it") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    refuse_utf16(path, content[:HEAD_BYTES])
    lines = content.removeprefix(UTF8_BOM).split(b"\n")
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise UserError(
            f"{path}: is empty; it needs one JSON object per line with subject and edit_fact"
        )
    return numbered


def parse_line(line: bytes) -> Fact:
    """Decode one line of a facts file.

    Raises: BadRowError if it is not UTF-8, not JSON or not a fact.
    """
    try:
        row = decode_json(line)
    except ValueError as error:
        raise BadRowError(f"{error}; write one JSON object per line") from None
    return fact_from_row(row)


def read_facts(path: str | Path) -> list[Fact]:
    """Read a facts file. A fact that is in it twice, with equal fields, is read once.

    Raises: UserError that lists the first ten problems as `file:line: …`, or says that there is no
    file or that it is a JSON array or a table. Two different facts with one `fact_id` are a
    problem, because results are reported by it.
    """
    facts: list[Fact] = []
    first: dict[str, tuple[int, Fact]] = {}
    problems: list[str] = []
    lines = fact_lines(path)
    if message := array_message(path, lines):
        raise UserError(f"{path}:{lines[0][0]}: {message}")
    for number, line in lines:
        try:
            fact = parse_line(line)
        except BadRowError as error:
            problems.append(f"{path}:{number}: {on_one_line(error)}")
            continue
        earlier_line, earlier = first.setdefault(fact.fact_id, (number, fact))
        if earlier is fact:
            facts.append(fact)
        elif earlier != fact:
            problems.append(f"{path}:{number}: {same_id(fact, earlier, f'line {earlier_line}')}")
    if problems and not facts and is_table(path):
        message = to_convert(path, "is a table, but a facts file has one JSON object per line")
        raise UserError(f"{path}:{lines[0][0]}: {message}")
    if problems:
        raise UserError(shorten(problems))
    return facts


def same_id(fact: Fact, earlier: Fact, place: str) -> str:
    """Return what is wrong with a fact that has the `fact_id` of another one at `place`."""
    if is_same_edit(fact, earlier):
        return (
            f"has the subject and edit_fact of {place}, but other fields; "
            "keep one of them, or give each its own fact_id"
        )
    return (
        f"has the fact_id {fact.fact_id!r} of {place}, which is another fact; "
        "give each fact its own fact_id, or leave fact_id out of the file"
    )


def is_same_edit(first: Fact, second: Fact) -> bool:
    """Whether two facts have the same subject and edited statement."""
    return (first.subject, first.edit_fact) == (second.subject, second.edit_fact)


def shorten(problems: Sequence[str], limit: int = MAX_PROBLEMS_SHOWN) -> str:
    """Join the first `limit` problems, one per line, and append the number of the others."""
    shown = list(problems[:limit])
    hidden = len(problems) - len(shown)
    return "\n".join([*shown, f"… and {hidden} more problems"] if hidden else shown)


def write_facts(path: str | Path, facts: Iterable[Fact]) -> int:
    """Write facts as JSONL and return their number.

    The file is renamed into place at the end, so that no reader sees a partial one.

    Raises: UserError if the file cannot be written.
    """
    return write_lines(Path(path), (msgspec.json.encode(fact) for fact in facts))


def default_facts() -> list[Fact]:
    """Return the packaged facts."""
    packaged = resources.files("contraflow") / "assets" / "facts.jsonl"
    with resources.as_file(packaged) as path:
        return read_facts(path)
