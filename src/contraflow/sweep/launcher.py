"""Launchers start the runs of a sweep: as a child process, or as cluster jobs (`slurm.py`)."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from contraflow.errors import UserError


class JobLost(Exception):
    """A run was ended from outside; the message gives the reason if it is known."""


class Job(Protocol):
    """One started `contraflow train`."""

    name: str  # for `Launcher.find`; empty if the job ends with this process

    def poll(self) -> int | None:
        """Return the exit code once the run has ended, else None. Raises: JobLost."""

    def stop(self) -> None:
        """Request a checkpoint and the end of the run, without waiting."""

    def part(self) -> None:
        """Release the job when the sweep ends before it."""


class Launcher(Protocol):
    """Starts runs and finds those that an earlier process started."""

    at_once: int  # runs at the same time

    def start(self, command: Sequence[str], log: Path) -> Job:
        """Start a run whose output goes to ``log``. Raises: UserError."""

    def find(self, name: str, log: Path) -> Job | None:
        """Return the job of this name, ended or not; None if it ended with its process."""


def train_command(overrides: Sequence[str], folder: Path) -> list[str]:
    """Return the command line of a trial's run."""
    return [sys.executable, "-m", "contraflow.cli", "train", *overrides, f"run_dir={folder}"]


class LocalLauncher:
    """Starts one run at a time as a child process; it stops with the sweep."""

    at_once = 1

    def start(self, command: Sequence[str], log: Path) -> Job:
        """Start a child process."""
        return _Process(command, log)

    def find(self, name: str, log: Path) -> Job | None:  # noqa: ARG002
        """Raises: UserError for a cluster job, which may still write to the run folder."""
        if name:
            raise UserError(
                f"this sweep has job {name} on a cluster; go on with launcher=slurm, "
                "which follows it"
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
