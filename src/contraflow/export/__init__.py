"""Questions for other tools: an evaluation file for edited models, a table, a data set with a card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from contraflow.export import easyedit, hub, table
from contraflow.export.selection import CHECKS, Chosen, Selection, select

__all__ = ["CHECKS", "FORMATS", "Chosen", "Selection", "select"]

FORMATS: dict[str, Callable[[Path, Sequence[Chosen], Selection], int]] = {
    "easyedit": easyedit.write,
    "csv": table.write,
    "datasets": hub.write,
}
"""Each writes what was selected and returns how many rows that are."""
