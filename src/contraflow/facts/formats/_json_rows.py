"""Rows of a JSON array, or of JSON lines, as a stream: a file of a million rows is never whole in
memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import ijson
import msgspec

from contraflow.errors import UserError
from contraflow.facts.fact import BadRowError

BUFFER_BYTES = (
    1 << 14
)  # a larger one reads so far ahead that the sample below would count too few rows
SAMPLE_BYTES = 1 << 20  # of which the number of rows in the whole file is told
_NOT_AN_OBJECT = "is not a JSON object; a row is one {...} with the fields of its format"


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRowError]]:
    """(`file: row N` from 1, row); a row that is no object is an error in its place.

    Rows of JSON lines are counted by line. Raises: UserError for a file without rows, or with
    broken JSON in an array, after which no row can be found.
    """
    with _opened(path) as file:
        number = 0
        for number, row in _values(path, file):
            yield (
                f"{path}: row {number}",
                row if isinstance(row, dict | BadRowError) else BadRowError(_NOT_AN_OBJECT),
            )
        if number == 0:
            raise UserError(
                f"{path}: is empty; it needs an array of JSON objects, or one object a line"
            )


def first_row(path: Path) -> dict[str, Any]:
    """The first row, by whose fields a format is told; empty where it is none. Raises: UserError."""
    _, row = next(json_rows(path))
    return {} if isinstance(row, BadRowError) else row


def rows_about(path: Path) -> int:
    """About how many rows there are, by the size of the first ones: all that a progress bar needs."""
    number = 0
    with _opened(path) as file:
        try:
            for _ in _values(path, file):
                number += 1
                if file.tell() >= SAMPLE_BYTES:
                    break
        except UserError:  # told again, with its row, when the file is read
            pass
        read = file.tell()
    return max(1, round(number * path.stat().st_size / max(1, read)))


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _values(path: Path, file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    head = file.read(4096)
    bom = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    file.seek(bom)
    return _items(path, file) if head[bom:].lstrip()[:1] == b"[" else _lines(file)


def _items(path: Path, file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        for row in ijson.items(file, "item", use_float=True, buf_size=BUFFER_BYTES):
            number += 1
            yield number, row
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{path}: row {number + 1}: is not valid JSON ({reason}); the file is cut or damaged, fetch it again"
        ) from None


def _lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield number, _decoded(line)


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BadRowError(
            f"is not valid JSON ({error}); give an array of objects, or one object a line"
        )
