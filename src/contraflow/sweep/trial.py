"""One run of a sweep read from its files: history, final metric and reason of failure."""

from __future__ import annotations

from pathlib import Path

from contraflow.errors import UserError
from contraflow.evaluation.metrics import read_metrics
from contraflow.system.files import whole_lines


def values_of(folder: Path, name: str) -> list[tuple[int, float]]:
    """Return (step, value) of a metric of the run's history, without an incomplete last line."""
    rows = whole_lines(folder / "history.jsonl")
    return [(row["step"], row[name]) for row in rows if name in row]


def failure_of(code: int, log: Path) -> str:
    """Return the last line of a failed run's log and the path of the log."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return f"{lines[-1] if lines else f'exit code {code}'} (all it said: {log})"


def result_of(folder: Path, metric: str) -> float:
    """Return a finished run's metric, from its evaluation or else the last one of its history.

    Raises: UserError when the run has no such metric.
    """
    path = folder / "evaluation" / "after.json"
    if path.is_file():
        for row in read_metrics(path).rows:
            if row.name == metric:
                return row.value
    values = values_of(folder, metric)
    if not values:
        raise UserError(
            f"metric={metric}: {folder} has no such number; name one of its evaluation/after.json "
            "(strict_success, distinct_questions, …) or of its history.jsonl "
            "(val_log_contradiction, …)"
        )
    return values[-1][1]
