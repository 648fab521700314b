"""Two real processes over gloo, run once for all tests that read what they wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from contraflow.distributed.launch import launch, log_of
from support.processes import child_environment
from support.runs import write_tiny_facts


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `support.two_ranks` has run as rank 0 and as rank 1."""
    folder = tmp_path_factory.mktemp("two_ranks")
    write_tiny_facts(folder / "facts.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in child_environment().items():
            patch.setenv(name, value)
        code = launch([sys.executable, "-m", "support.two_ranks", str(folder)], 2, folder)
    assert code == 0, log_of(folder, 1).read_text()
    return folder
