"""Questions as CSV: one column per field and check; aliases share a cell, separated by `;`.

Numbers stay numbers; a text that a spreadsheet would run as a formula gets an apostrophe.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from contraflow.export.selection import Chosen, Selection, Written
from contraflow.system.csv_cells import as_text_cell
from contraflow.system.files import write_atomically


def row_of(chosen: Chosen) -> dict[str, Any]:
    """Return the fields of the record, then the checks; NaN becomes None."""
    row = msgspec.structs.asdict(chosen.record)
    for key, value in row.items():
        if isinstance(value, float) and math.isnan(value):
            row[key] = None
    row |= asdict(chosen.verdict)
    row["valid_contradiction"] = chosen.verdict.valid_contradiction
    return row


def write(path: Path, chosen: Sequence[Chosen], _selection: Selection) -> Written:
    """Write the table; its header is not counted as a row."""
    return write_table(path, [row_of(c) for c in chosen])


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> Written:
    """Write rows with equal keys; the keys are the header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(_cells(row) for row in rows)
    write_atomically(path, text.getvalue().encode())
    return Written(len(rows))


def _cells(row: dict[str, Any]) -> dict[str, object]:
    return {key: _cell(value) for key, value in row.items()}


def _cell(value: Any) -> object:
    if isinstance(value, tuple):
        return as_text_cell(";".join(value))
    if isinstance(value, str):
        return as_text_cell(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value
