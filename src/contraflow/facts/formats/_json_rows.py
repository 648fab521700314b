"""Streaming of the rows of a JSON array or of JSON lines, one row in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from contraflow.errors import UserError
from contraflow.facts.encoding import UTF8_BOM, refuse_utf16
from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._json_array import DamagedArrayError, array_items
from contraflow.facts.json_values import decode_json

# Rows that are read for the first one whose fields identify the format.
ROWS_TRIED = 100
# The part of a file from which `rows_about` extrapolates.
SAMPLE_BYTES = 1 << 20
_NOT_AN_OBJECT = "is not a JSON object; a row is one {...} with the fields of its format"


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRowError]]:
    """Yield (`file: row N`, row), with N from 1 and an error in place of a row that is no object.

    In JSON lines N is the line number.

    Raises: UserError for an unreadable file, a file without rows, and an array whose brackets do
    not match, so that the next row cannot be found.
    """
    with _open(path) as file:
        number = 0
        for number, value in _values(path, file):
            is_row = isinstance(value, dict | BadRowError)
            yield f"{path}: row {number}", value if is_row else BadRowError(_NOT_AN_OBJECT)
        if number == 0:
            raise UserError(
                f"{path}: is empty; it needs an array of JSON objects, or one object per line"
            )


def first_row(path: Path) -> dict[str, Any]:
    """Return the first row that can be read, whose fields identify the format.

    Empty if none of the first `ROWS_TRIED` rows is an object. Raises: UserError, as `json_rows`.
    """
    for _, row in islice(json_rows(path), ROWS_TRIED):
        if not isinstance(row, BadRowError):
            return row
    return {}


def rows_about(path: Path) -> int:
    """Estimate the number of rows from the size of the first ones, for a progress bar.

    Raises: UserError if the file cannot be opened.
    """
    n_rows = 0
    with _open(path) as file:
        try:
            for _ in _values(path, file):
                n_rows += 1
                if file.tell() >= SAMPLE_BYTES:
                    break
        except UserError:
            # `json_rows` reports the error, with its row, when the file is converted.
            pass
        bytes_read = file.tell()
    return max(1, round(n_rows * path.stat().st_size / max(1, bytes_read)))


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _values(path: Path, file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """Yield (number from 1, value) of an array if the file starts with a bracket, else of lines."""
    head = file.read(4096)
    refuse_utf16(path, head)
    start = len(UTF8_BOM) if head.startswith(UTF8_BOM) else 0
    file.seek(start)
    is_array = head[start:].lstrip()[:1] == b"["
    return _array_items(path, file) if is_array else _lines(file)


def _array_items(path: Path, file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        for content in array_items(file):
            number += 1
            yield number, _decode(content)
    except DamagedArrayError as error:
        raise UserError(
            f"{path}: row {number + 1}: is not valid JSON ({error}); "
            "the file is cut or damaged, fetch it again"
        ) from None


def _lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield number, _decode(line)


def _decode(content: bytes) -> Any:
    try:
        return decode_json(content)
    except ValueError as error:
        return BadRowError(f"{error}; give an array of objects, or one object per line")
