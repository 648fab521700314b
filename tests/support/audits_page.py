"""Reports of audits as trees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contraflow.auditing.outcome.result import AuditResult
from contraflow.auditing.outcome.rows import Row
from contraflow.auditing.report.page import write_report
from support.html_tree import Node, tree_of


def data_of(root: Node) -> Any:
    """The data of the page's script."""
    (script,) = root.find("script", type="application/json")
    return json.loads("".join(piece for piece in script.pieces if isinstance(piece, str)))


def written(folder: Path, result: AuditResult, rows: Sequence[Row] | None = None) -> Node:
    """Write the report and parse it."""
    path = write_report(folder, result, rows)
    assert path == folder / "report.html"
    return tree_of(path)
