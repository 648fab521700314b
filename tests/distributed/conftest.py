"""Two real processes over gloo, run once for all tests that look at what they left behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from contraflow.distributed.launch import launch, log_of
from support.tiny_runs import write_tiny_facts

HERE = Path(__file__).parents[1] / "support"


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `two_ranks.py` has run as rank 0 and as rank 1."""
    folder = tmp_path_factory.mktemp("two_ranks")
    write_tiny_facts(folder / "facts.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
        patch.setenv("OMP_NUM_THREADS", "1")
        code = launch([sys.executable, str(HERE / "two_ranks.py"), str(folder)], 2, folder)
    assert code == 0, log_of(folder, 1).read_text()
    return folder
