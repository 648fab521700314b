"""Gradient checkpointing on many ranks: two processes that recompute learn what two that do not
learn.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from contraflow.distributed.launch import launch
from support.tiny_runs import assert_same, checkpoint, write_tiny_facts

HERE = Path(__file__).parents[1] / "support"


@pytest.mark.slow
def test_two_ranks_that_recompute_end_with_the_weights_of_two_that_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_tiny_facts(tmp_path / "facts.jsonl")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    weights = []
    for name, recomputes in (("plain", False), ("saving", True)):
        plan = json.dumps({"name": name, "recomputes": recomputes})
        command = [sys.executable, str(HERE / "tiny_rank.py"), str(tmp_path), plan]
        assert launch(command, 2, tmp_path / f"{name}-ranks") == 0
        weights.append(checkpoint(tmp_path / name)["state_dict"])
    assert_same(*weights)
