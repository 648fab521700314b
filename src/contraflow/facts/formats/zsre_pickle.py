"""zsRE edits as stored by the published prototype: a pickled pandas table of text columns.

The pickle is never executed (see `_inert_pickle`); the table is rebuilt from the blocks in which
pandas stores it. A row with an empty cell (NaN) is an error, because the prototype wrote such cells
into its statements: "Her gender is nan". The table's statements have no full stop, and sometimes
two spaces or a small first letter; they become sentences.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contraflow.errors import UserError, on_one_line
from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._inert_pickle import (
    Array,
    Block,
    Buffer,
    Dtype,
    Frame,
    Index,
    Manager,
    Missing,
    Slice,
    Texts,
    load_inert,
)
from contraflow.facts.formats._questions import sentence
from contraflow.facts.formats._rows import RowSource
from contraflow.facts.formats._texts import without_question_prefix

# Field of a fact -> column of the prototype.
COLUMNS = {
    "question": "prompt",
    "original_answer": "original_answer",
    "edited_answer": "edited_answer",
    "subject": "subject",
    "edit_fact": "edit_fact",
    "original_fact": "original_fact",
}


class _NotATableError(ValueError):
    """The unpickled objects are not a table of text."""


def read(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),  # noqa: ARG001 (columns that are not mapped are never read)
) -> RowSource:
    """Stream the rows of a zsRE pickle; `columns` overrides entries of `COLUMNS`.

    Raises: UserError, as `contraflow.facts.formats.convert`; also for a missing column.
    """
    path = Path(path)
    table = _table(path)
    mapping = dict(COLUMNS) | dict(columns or {})
    missing = [column for column in mapping.values() if column not in table]
    if missing:
        raise UserError(
            f"{path}: column {missing[0]!r} is missing; "
            f"the table has: {on_one_line(', '.join(table))}"
        )
    return RowSource(_rows(path, table, mapping), same_edit_is_one_fact=True)


def _rows(
    path: Path, table: Mapping[str, Sequence[object]], mapping: Mapping[str, str]
) -> Iterator[tuple[str, Mapping[str, object] | BadRowError]]:
    """Yield (`file:row`, row), with rows counted from 1."""
    columns = [table[column] for column in mapping.values()]
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        yield f"{path}:{number}", _row(dict(zip(mapping, values, strict=True)), mapping)


def _row(row: dict[str, object], mapping: Mapping[str, str]) -> Mapping[str, object] | BadRowError:
    for field, value in row.items():
        is_nan = value != value  # noqa: PLR0124 (only NaN differs from itself)
        if value is None or value is Missing or is_nan:
            return BadRowError(
                f"column {mapping[field]!r} is empty (NaN); fill it in or leave the row out"
            )
    question = row.get("question")
    if isinstance(question, str):
        row["question"] = without_question_prefix(question)
    for field in ("edit_fact", "original_fact"):
        statement = row.get(field)
        if isinstance(statement, str) and statement.strip():
            row[field] = sentence(statement)
    return row


def _table(path: Path) -> dict[str, list[object]]:
    frame = load_inert(path)
    try:
        return _columns_of(frame)
    except (_NotATableError, OverflowError) as error:
        raise UserError(f"{path}: {error}; export the table as CSV or JSONL instead") from None


def _columns_of(frame: object) -> dict[str, list[object]]:
    state = frame.state if isinstance(frame, Frame) else None
    manager = state.get("_mgr") if isinstance(state, dict) else None
    if not isinstance(manager, Manager) or len(manager.args) != 2:
        raise _NotATableError("does not hold a pandas table of a known layout")
    blocks, axes = manager.args
    if not isinstance(blocks, tuple) or not isinstance(axes, list) or not axes:
        raise _NotATableError("does not hold a pandas table of a known layout")
    labels = _labels(axes[0])
    table: dict[str, list[object]] = {}
    for block in blocks:
        for position, column in _block_columns(block):
            if position >= len(labels):
                raise _NotATableError("has more columns than labels")
            table[labels[position]] = column
    if len({len(column) for column in table.values()}) != 1:
        raise _NotATableError("has no columns, or columns of different lengths")
    return table


def _labels(index: object) -> list[str]:
    arguments = index.args[-1] if isinstance(index, Index) and index.args else None
    data = arguments.get("data") if isinstance(arguments, dict) else None
    if not isinstance(data, Array | Texts):
        raise _NotATableError("has no named columns")
    labels = _texts(data) if isinstance(data, Texts) else _objects(data)[1]
    if not all(isinstance(label, str) for label in labels):
        raise _NotATableError("has column names that are not text")
    return [str(label) for label in labels]


def _block_columns(block: object) -> Iterator[tuple[int, list[object]]]:
    """Yield (position in the table, cells) of the columns of a block, one row of its array each.

    Blocks of numbers are omitted, because no field of a fact is a number.
    """
    if not isinstance(block, Block) or len(block.args) != 3:
        raise _NotATableError("has a block of columns of an unknown layout")
    array, placement, _ = block.args
    if isinstance(array, Texts):
        yield _positions(placement, 1)[0], _texts(array)
        return
    if not isinstance(array, Array):
        return
    shape, cells = _objects(array)
    if len(shape) != 2:
        raise _NotATableError("has a block of columns of an unknown layout")
    n_columns, n_rows = shape
    for number, position in zip(range(n_columns), _positions(placement, n_columns), strict=True):
        yield position, cells[number * n_rows : (number + 1) * n_rows]


def _texts(array: Texts) -> list[object]:
    """Return the cells of a column of pandas' text type, which is a block of its own."""
    state = array.state
    if not isinstance(state, tuple) or len(state) < 2 or not isinstance(state[1], Array):
        raise _NotATableError("has a text column of an unknown layout")
    shape, cells = _objects(state[1])
    # Beside other columns the array is one row of a table.
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] != 1):
        raise _NotATableError("has a text column of an unknown layout")
    return cells


def _positions(placement: object, count: int) -> Sequence[int]:
    """Return the positions of a block's columns in the table, from a slice or an int64 buffer."""
    positions: Sequence[int] = ()
    match placement:
        case Slice(args=(int(start), int(stop), int(step))) if step > 0:
            positions = range(start, stop, step)
        case Buffer(args=(bytes() | bytearray() as data, Dtype(args=("i8", *_)), *_)) if (
            len(data) == 8 * count
        ):
            positions = struct.unpack(f"<{count}q", data)
    if len(positions) != count or min(positions, default=0) < 0:
        raise _NotATableError("has its columns in an order this reader does not know")
    return positions


def _objects(array: Array) -> tuple[tuple[int, ...], list[object]]:
    """Return shape and cells, in row-major order, of an array of objects."""
    state: Any = array.state
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[4], list):
        raise _NotATableError("has a column that is not plain text")
    shape = state[1]
    cells = state[4]
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise _NotATableError("has an array of an unknown shape")
    expected = 1
    for n in shape:
        expected *= n
    if expected != len(cells):
        raise _NotATableError("has an array whose shape does not fit its cells")
    return shape, cells
