"""Trials that take seconds, and a Slurm that runs them on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import submitit

from contraflow.sweep import attempt
from support.fake_slurm import FakeSlurm
from support.sweep import tiny_command
from support.tiny_runs import write_tiny_facts


@pytest.fixture
def tiny_trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_tiny_facts(tmp_path / "facts.jsonl")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(attempt, "train_command", tiny_command)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeSlurm]:
    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", os.pathsep.join([str(fake.bin), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("FAKE_SLURM", str(fake.folder))
    submitit.SlurmJob.watcher.clear()  # one for the whole process, which has seen other tests' job 1
    yield fake
    fake.end()
