"""Gradient checkpointing on several ranks learns the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contraflow.distributed.launch import launch
from support.forked import ForkServer
from support.processes import child_environment
from support.runs import assert_same, checkpoint, write_tiny_facts


@pytest.mark.slow
def test_ranks_that_recompute_end_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank_server: ForkServer
):
    write_tiny_facts(tmp_path / "facts.jsonl")
    for key, value in child_environment().items():
        monkeypatch.setenv(key, value)
    weights = []
    for name, recomputes in (("plain", False), ("saving", True)):
        plan = json.dumps({"name": name, "recomputes": recomputes})
        command = rank_server.command("support.faulty_rank:main", str(tmp_path), plan)
        assert launch(command, 2, tmp_path / f"{name}-ranks") == 0
        weights.append(checkpoint(tmp_path / name)["state_dict"])
    assert_same(*weights)
