"""Export of questions: an evaluation file for edited models, a table, or a data set with a card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from contraflow.export import easyedit, hub, qaedit, table
from contraflow.export.selection import (
    CHECKS,
    Chosen,
    Selection,
    Written,
    select,
    why_nothing_is_left,
)

__all__ = ["CHECKS", "FORMATS", "Chosen", "Selection", "Written", "select", "why_nothing_is_left"]

FORMATS: dict[str, Callable[[Path, Sequence[Chosen], Selection], Written]] = {
    "easyedit": easyedit.write,
    "qaedit": qaedit.write,
    "csv": table.write,
    "datasets": hub.write,
}
"""Writers by format name; each writes the selected questions and returns what it wrote."""
