"""Questions as CSV: every number and every check in a column of its own; aliases share a cell, with
`;` between.
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

from contraflow.export.selection import Chosen, Selection
from contraflow.system.files import write_atomically


def row_of(chosen: Chosen) -> dict[str, Any]:
    """Fields of the record, then the checks; what is not a number is None."""
    fields = {k: None if v != v else v for k, v in msgspec.structs.asdict(chosen.record).items()}  # noqa: PLR0124
    return (
        fields
        | asdict(chosen.verdict)
        | {"valid_contradiction": chosen.verdict.valid_contradiction}
    )


def write(path: Path, chosen: Sequence[Chosen], _selection: Selection) -> int:
    """Write the table and return how many rows it has under its header."""
    rows = [row_of(c) for c in chosen]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(_cells(row) for row in rows)
    write_atomically(path, text.getvalue().encode())
    return len(rows)


def _cells(row: dict[str, Any]) -> dict[str, object]:
    return {key: ";".join(v) if isinstance(v, tuple) else _cell(v) for key, v in row.items()}


def _cell(value: Any) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
