"""Streaming of CSV, TSV, JSONL and JSON tables with a mapping of columns, one row at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from contraflow.errors import UserError, on_one_line
from contraflow.facts import Fact
from contraflow.facts.edit import EDIT_KEYS, LIST_KEYS, TEXT_KEYS
from contraflow.facts.encoding import HEAD_BYTES, refuse_utf16
from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._delimited import (
    check_swallowed,
    csv_records,
    text_of_tsv_cell,
    tsv_records,
)
from contraflow.facts.formats._json_rows import json_rows
from contraflow.facts.formats._rows import RowSource
from contraflow.facts.formats._texts import without_question_prefix
from contraflow.facts.json_values import decode_json
from contraflow.system.csv_cells import text_of_cell
from contraflow.system.input_file import require_file

Rows = Iterator[tuple[str, Mapping[str, object] | BadRowError]]
FIELDS = Fact.__struct_fields__
# Lists and probes have no form in a table's cell.
CELL_FIELDS = (*FIELDS, *TEXT_KEYS, *LIST_KEYS)
_LISTS = ("aliases", *LIST_KEYS)
# Of a table whose rows have many different keys, these are enough to name.
MAX_NOT_READ = 100


def read_csv(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),  # noqa: ARG001 (columns that are not mapped are never read)
) -> RowSource:
    """Stream the rows of a CSV file with a header; the suffix .tsv selects tabs.

    A CSV cell may be quoted and then hold commas and line breaks; a TSV cell is literal.

    `columns` maps fields to columns, as `{"subject": "Subj"}`. Another field is read from the
    column of its name, if there is one. The texts of a list, such as aliases, share one cell,
    separated by `;`.

    Raises: UserError, as `contraflow.facts.formats.convert`; also for an unknown field in `columns`
    and a missing column.
    """
    path = Path(path)
    _check_mapping(path, columns)
    not_read: dict[str, None] = {}
    return RowSource(_csv_rows(path, columns or {}, not_read), not_read=not_read)


def read_jsonl(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),  # noqa: ARG001 (columns that are not mapped are never read)
) -> RowSource:
    """Stream the rows of a JSONL file; `columns` and errors as in `read_csv`."""
    path = Path(path)
    _check_mapping(path, columns)
    not_read: dict[str, None] = {}
    return RowSource(_jsonl_rows(path, columns or {}, not_read), not_read=not_read)


def read_json(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),  # noqa: ARG001 (columns that are not mapped are never read)
) -> RowSource:
    """Stream the rows of a JSON array of objects; `columns` and errors as in `read_csv`."""
    path = Path(path)
    _check_mapping(path, columns)
    not_read: dict[str, None] = {}
    return RowSource(_json_array_rows(path, columns or {}, not_read), not_read=not_read)


def _check_mapping(path: Path, columns: Mapping[str, str] | None) -> None:
    """Check fields and path on the call, before the generator yields its first fact."""
    known = (*FIELDS, *EDIT_KEYS)
    for name in columns or {}:
        if name not in known:
            raise UserError(f"columns.{name}: a fact has no such field; it has: {', '.join(known)}")
    require_file(path)


def _csv_rows(path: Path, columns: Mapping[str, str], not_read: dict[str, None]) -> Rows:
    is_tsv = path.suffix.lower() == ".tsv"
    with path.open("rb") as binary:
        refuse_utf16(path, binary.read(HEAD_BYTES))
    # Bytes that are not UTF-8 become lone surrogates, so that they spoil one row, not the file.
    with path.open(
        encoding="utf-8-sig", errors="surrogateescape", newline=None if is_tsv else ""
    ) as file:
        records = tsv_records(file) if is_tsv else csv_records(file)
        line, header = next(records, (1, None))
        if header is None:
            raise UserError(f"{path}: is empty; it needs a header line and one fact a line")
        if isinstance(header, BadRowError):
            raise UserError(f"{path}:{line}: the header {header}")
        header = [name.strip() for name in header]
        column_of = _column_of(path, line, header, columns)
        read = set(column_of.values())
        not_read.update((name, None) for i, name in enumerate(header) if i not in read and name)
        for line, record in records:
            place = f"{path}:{line}"
            if isinstance(record, BadRowError):
                yield place, record
            else:
                yield place, _csv_row(record, header, column_of, is_tsv)


def _column_of(
    path: Path, line: int, header: list[str], columns: Mapping[str, str]
) -> dict[str, int]:
    """Return the column index of each field that has a column.

    Raises: UserError if a mapped column, `subject` or `edit_fact` is missing.
    """
    wanted = _wanted(columns, CELL_FIELDS)
    place = f"{path}:{line}"
    if len(header) == 1 and ";" in header[0]:
        raise UserError(
            f"{place}: cells are set apart by semicolons ({on_one_line(header[0])}); save the "
            "table with commas, or with tabs as .tsv"
        )
    for column in wanted.values():
        if header.count(column) > 1:
            raise UserError(f"{place}: has {header.count(column)} columns {column!r}; rename one")
    for name in dict.fromkeys([*columns, "subject", "edit_fact"]):
        if wanted[name] not in header:
            message = f"{place}: no column {wanted[name]!r} for '{name}' in: {', '.join(header)}"
            raise UserError(f"{on_one_line(message)} (map it with columns.{name}=NAME)")
    return {name: header.index(column) for name, column in wanted.items() if column in header}


def _wanted(columns: Mapping[str, str], fields: Sequence[str]) -> dict[str, str]:
    """Return the column of each field: the mapped one, else the one of its name.

    A column that is mapped to a field is not read as a field of an edit as well.
    """
    taken = set(columns.values())
    return {
        name: columns.get(name, name)
        for name in fields
        if name in columns or name in FIELDS or name not in taken
    }


def _csv_row(
    record: list[str], header: list[str], column_of: Mapping[str, int], is_tsv: bool
) -> Mapping[str, object] | BadRowError:
    if len(record) != len(header):
        remedy = "a cell has no tab in it" if is_tsv else "quote cells with commas"
        return BadRowError(f"has {len(record)} columns, the header {len(header)}; {remedy}")
    row: dict[str, object] = {}
    for name, column in column_of.items():
        cell = record[column]
        try:
            if is_tsv:
                row[name] = text_of_tsv_cell(cell)
            else:
                check_swallowed(cell, len(header))
                row[name] = text_of_cell(cell)
        except BadRowError as error:
            return BadRowError(f"column {header[column]!r} {error}")
    for name in _LISTS:
        if name in row:
            row[name] = str(row[name]).split(";")
    return _clean_question(row)


def _json_array_rows(path: Path, columns: Mapping[str, str], not_read: dict[str, None]) -> Rows:
    for place, row in json_rows(path):
        yield place, row if isinstance(row, BadRowError) else _mapped(row, columns, not_read)


def _jsonl_rows(path: Path, columns: Mapping[str, str], not_read: dict[str, None]) -> Rows:
    with path.open("rb") as file:
        refuse_utf16(path, file.read(HEAD_BYTES))
        file.seek(0)
        seen = False
        for line, content in _numbered(file):
            seen = True
            yield f"{path}:{line}", _jsonl_row(content, columns, not_read)
        if not seen:
            raise UserError(f"{path}: is empty; it needs one JSON object per line")


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, content in enumerate(file, start=1):
        bare = content.removeprefix(b"\xef\xbb\xbf") if number == 1 else content
        if bare.strip():
            yield number, bare


def _jsonl_row(
    content: bytes, columns: Mapping[str, str], not_read: dict[str, None]
) -> Mapping[str, object] | BadRowError:
    try:
        source = decode_json(content)
    except ValueError as error:
        return BadRowError(f"{error}; write one JSON object per line")
    if not isinstance(source, dict):
        return BadRowError("is not a JSON object; write one {...} object per line")
    return _mapped(source, columns, not_read)


def _mapped(
    source: Mapping[str, object], columns: Mapping[str, str], not_read: dict[str, None]
) -> Mapping[str, object] | BadRowError:
    missing = [column for column in columns.values() if column not in source]
    if missing:
        return BadRowError(f"has no column {missing[0]!r}; its columns are: {', '.join(source)}")
    wanted = _wanted(columns, (*FIELDS, *EDIT_KEYS))
    read = set(wanted.values())
    if len(not_read) < MAX_NOT_READ:
        not_read.update((name, None) for name in source if name not in read)
    return _clean_question(
        {name: source[column] for name, column in wanted.items() if column in source}
    )


def _clean_question(row: dict[str, object]) -> dict[str, object]:
    question = row.get("question")
    if isinstance(question, str):
        row["question"] = without_question_prefix(question)
    return row
