"""One run of a sweep: `contraflow train` in a process of its own, watched by its history."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from contraflow.errors import UserError
from contraflow.evaluation.metrics import read_metrics
from contraflow.records import whole_lines

_POLL_S = 0.5


class TrialFailed(UserError):
    """The run of a trial ended with an error; the message has its last line and where the rest is."""


def run_trial(
    overrides: Sequence[str], folder: Path, log: Path, watched: str, should_stop: Callable[[int, float], bool]
) -> bool:
    """Train until the end, or until ``should_stop(step, value)`` of a watched validation number; True at the end.

    A run that is stopped has written a checkpoint. Raises: TrialFailed.
    """
    command = [sys.executable, "-m", "contraflow.cli", "train", *overrides, f"run_dir={folder}"]
    seen = 0
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                for step, value in values_of(folder, watched)[seen:]:
                    seen += 1
                    if should_stop(step, value):
                        process.send_signal(signal.SIGTERM)
                        process.wait()
                        return False
                time.sleep(_POLL_S)
        finally:
            if process.poll() is None:  # the sweep itself is stopped: so is its run, which checkpoints
                process.send_signal(signal.SIGTERM)
                process.wait()
    if process.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        raise TrialFailed(f"{lines[-1] if lines else f'exit code {process.returncode}'} (all it said: {log})")
    return True


def values_of(folder: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) of a number in the run's history, in order; a line that is being written is left out."""
    rows = whole_lines(folder / "history.jsonl")
    return [(row["step"], row[name]) for row in rows if name in row]


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
