"""Where the runs of a sweep run: in a process beside it, or as jobs of a cluster (`slurm.py`)."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from contraflow.errors import UserError


class JobLost(Exception):
    """A run ended without its own doing; the message says how, as far as is known."""


class Job(Protocol):
    """One `contraflow train` that was started."""

    name: str  # by which a later process finds it again; empty where it ends with this one

    def poll(self) -> int | None:
        """The run's exit code once it has ended. Raises: JobLost."""

    def stop(self) -> None:
        """Ask it to write a checkpoint and end; does not wait."""

    def part(self) -> None:
        """The sweep ends first."""


class Launcher(Protocol):
    """Starts runs, and finds those that an earlier process has started."""

    at_once: int

    def start(self, command: Sequence[str], log: Path) -> Job:
        """Begin a run whose words go to a file. Raises: UserError."""

    def find(self, name: str, log: Path) -> Job | None:
        """The job of that name, ended or not; None where it ended with the process that began it."""


def train_command(overrides: Sequence[str], folder: Path) -> list[str]:
    """What a trial runs."""
    return [sys.executable, "-m", "contraflow.cli", "train", *overrides, f"run_dir={folder}"]


class LocalLauncher:
    """One run after another on this machine; it is asked to stop where the sweep stops."""

    at_once = 1

    def start(self, command: Sequence[str], log: Path) -> Job:
        """A process of its own."""
        return _Process(command, log)

    def find(self, name: str, log: Path) -> Job | None:  # noqa: ARG002
        """Raises: UserError for a job on a cluster, which may be writing into the run's folder."""
        if name:
            raise UserError(
                f"this sweep has job {name} on a cluster; go on with launcher=slurm, which sees to it"
            )
        return None


class _Process:
    name = ""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL
            )

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def part(self) -> None:
        self.stop()
        self._process.wait()
