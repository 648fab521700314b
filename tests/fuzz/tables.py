"""A table of texts in the bytes of each format, and calls that a pickle must never make."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

# The columns of the published prototype; a mapping is needed in no other format.
COLUMNS = (
    *("subject", "edit_fact", "original_fact", "original_answer", "edited_answer", "prompt"),
)
Row = Sequence[object]


def csv_bytes(rows: Sequence[Row]) -> bytes:
    """Return the table as CSV with a header; None is an empty cell."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows([COLUMNS, *rows])
    return file.getvalue().encode()


def tsv_bytes(rows: Sequence[Row]) -> bytes:
    """Return the table as TSV with a header; its cells are literal."""
    lines = ("\t".join(map(tsv_cell, row)) + "\n" for row in [COLUMNS, *rows])
    return "".join(lines).encode()


def tsv_cell(cell: object) -> str:
    """Return the text of a cell."""
    return re.sub("[\t\r\n]", " ", "" if cell is None else str(cell))


def json_bytes(rows: Sequence[Row]) -> bytes:
    """Return the table as a JSON array of objects."""
    return json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows]).encode()


def jsonl_bytes(rows: Sequence[Row]) -> bytes:
    """Return the table as JSON lines."""
    lines = (json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows)
    return "".join(line + "\n" for line in lines).encode()


def pickle_bytes(rows: Sequence[Row], inserted: bytes = b"") -> bytes:
    """Return the table as pandas pickles it, with `inserted` opcodes before the end.

    It is written opcode by opcode, because pandas need not be installed.
    """
    cells = [cell for column in zip(*rows, strict=True) for cell in column]
    placement = _call("builtins", "slice", _value(0), _value(len(COLUMNS)), _value(1))
    block = _call(
        "pandas._libs.internals",
        "_unpickle_block",
        _array(cells, len(COLUMNS), len(rows)),
        placement,
        _value(2),
    )
    index = _call(
        "pandas.core.indexes.base",
        "_new_Index",
        _global("pandas.core.indexes.base", "Index"),
        b"(" + _value("data") + _array(list(COLUMNS), len(COLUMNS)) + b"d",
    )
    manager = _call(
        "pandas.core.internals.managers", "BlockManager", b"(" + block + b"t", b"(" + index + b"l"
    )
    frame = _call("pandas.core.frame", "DataFrame") + b"(" + _value("_mgr") + manager + b"db"
    return b"\x80\x02" + frame + inserted + b"."


def hostile_calls(path: Path) -> list[bytes]:
    """Return opcodes each of which creates the file, if a pickle that holds them is run."""
    name = str(path)
    make = f"__import__('pathlib').Path({name!r}).touch()"
    opened = _value(name) + _value("w")
    return [
        b"0" + _call("posix", "system", _value(f"touch {name}")),
        b"0" + _call("builtins", "open", _value(name), _value("w")),
        b"0" + _call("builtins", "exec", _value(make)),
        b"0(" + opened + b"ibuiltins\nopen\n",
        b"0(" + _global("builtins", "open") + opened + b"o",
        _call("os", "open", _value(name), _value(66)) + b"0",
    ]


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _call(module: str, name: str, *arguments: bytes) -> bytes:
    return _global(module, name) + b"(" + b"".join(arguments) + b"tR"


def _value(value: object) -> bytes:
    match value:
        case None:
            return b"N"
        case str():
            encoded = value.encode("utf-8", "surrogatepass")
            return b"X" + len(encoded).to_bytes(4, "little") + encoded
        case int():
            return f"I{value:d}\n".encode()
        case float():
            return b"Fnan\n" if math.isnan(value) else f"F{value!r}\n".encode()
    raise TypeError(type(value))


def _array(cells: Sequence[object], *shape: int) -> bytes:
    made = _call(
        "numpy._core.multiarray",
        "_reconstruct",
        _global("numpy", "ndarray"),
        b"(" + _value(0) + b"t",
        _value("b"),
    )
    dtype = _call("numpy", "dtype", _value("O8"), _value(0), _value(1))
    sizes = b"(" + b"".join(map(_value, shape)) + b"t"
    content = b"(" + b"".join(map(_value, cells)) + b"l"
    return made + b"(" + _value(1) + sizes + dtype + _value(0) + content + b"tb"
