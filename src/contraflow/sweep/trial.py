"""One trial of a sweep: what it notes of its run, and what the files of the run say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from contraflow.evaluation.metrics import read_metrics
from contraflow.system.files import whole_lines

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

RESULT = "result"  # user attribute of a trial: the metric of its run, which Optuna gets as a worth


def settings_of(trial: FrozenTrial) -> dict[str, str]:
    """Return the varied settings of a trial, as its run received them."""
    return dict(trial.user_attrs.get("settings", {}))


def run_of(trial: FrozenTrial) -> str:
    """Return the name of a trial's run; empty if the process was killed before it had one."""
    return str(trial.user_attrs.get("run", ""))


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

    NaN where it is not defined for the run, or nowhere in its files. Raises: UserError for a
    damaged file.
    """
    path = folder / "evaluation" / "after.json"
    if path.is_file():
        for row in read_metrics(path).rows:
            if row.name == metric:
                return row.value
    values = values_of(folder, metric)
    return values[-1][1] if values else math.nan
