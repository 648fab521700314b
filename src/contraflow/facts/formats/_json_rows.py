"""Streaming of the rows of a JSON array or of JSON lines, one row in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import ijson
import msgspec

from contraflow.errors import UserError
from contraflow.facts.fact import BadRowError

# With a larger buffer the parser reads so far ahead that `rows_about` would underestimate.
BUFFER_BYTES = 1 << 14
# The part of a file from which `rows_about` extrapolates.
SAMPLE_BYTES = 1 << 20
_NOT_AN_OBJECT = "is not a JSON object; a row is one {...} with the fields of its format"


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRowError]]:
    """Yield (`file: row N`, row), with N from 1 and an error in place of a row that is no object.

    In JSON lines N is the line number.

    Raises: UserError for an unreadable file, a file without rows, and invalid JSON in an array,
    after which the next row cannot be found.
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
    """Return the first row, whose fields identify the format; empty if it is not an object.

    Raises: UserError, as `json_rows`.
    """
    _, row = next(json_rows(path))
    return {} if isinstance(row, BadRowError) else row


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
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    file.seek(start)
    is_array = head[start:].lstrip()[:1] == b"["
    return _array_items(path, file) if is_array else _lines(file)


def _array_items(path: Path, file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        for row in ijson.items(file, "item", use_float=True, buf_size=BUFFER_BYTES):
            number += 1
            yield number, row
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{path}: row {number + 1}: is not valid JSON ({reason}); "
            "the file is cut or damaged, fetch it again"
        ) from None


def _lines(file: IO[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield number, _decode(line)


def _decode(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BadRowError(
            f"is not valid JSON ({error}); give an array of objects, or one object per line"
        )
