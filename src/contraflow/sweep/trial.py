"""One run of a sweep, seen from outside: its history, its number in the end, and why it failed."""

from __future__ import annotations

from pathlib import Path

from contraflow.errors import UserError
from contraflow.evaluation.metrics import read_metrics
from contraflow.system.files import whole_lines


def values_of(folder: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) of a number in the run's history, in order; a line that is being written is
    left out.
    """
    rows = whole_lines(folder / "history.jsonl")
    return [(row["step"], row[name]) for row in rows if name in row]


def failure_of(code: int, log: Path) -> str:
    """The last thing that a failed run said, and where the rest is."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return f"{lines[-1] if lines else f'exit code {code}'} (all it said: {log})"


def result_of(folder: Path, metric: str) -> float:
    """A finished run's number: of the trained sampler's evaluation, or the last of its history.

    Raises: UserError when the run has no such number.
    """
    path = folder / "evaluation" / "after.json"
    if path.is_file():
        for row in read_metrics(path).rows:
            if row.name == metric:
                return row.value
    values = values_of(folder, metric)
    if not values:
        raise UserError(
            f"metric={metric}: {folder} has no such number; name one of its evaluation/after.json (strict_success, "
            "distinct_questions, …) or of its history.jsonl (val_log_contradiction, …)"
        )
    return values[-1][1]
