"""Trials that take seconds, and a Slurm that runs them on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import submitit

from contraflow.sweep import attempt, study
from support.processes import child_environment
from support.runs import write_tiny_facts
from support.slurm import FakeSlurm
from support.sweep import tiny_command


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps look at their jobs more often than users need."""
    monkeypatch.setattr(study, "_POLL_S", 0.02)


@pytest.fixture
def tiny_trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Replace the training of trials by that of a tiny run."""
    write_tiny_facts(tmp_path / "facts.jsonl")
    for name, value in child_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(attempt, "train_command", tiny_command)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeSlurm]:
    """A fake cluster whose commands are on the path."""
    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", os.pathsep.join([str(fake.bin), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("FAKE_SLURM", str(fake.folder))
    # One watcher serves the whole process, and it has seen the job 1 of other tests.
    submitit.SlurmJob.watcher.clear()
    yield fake
    fake.end()
