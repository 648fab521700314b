"""Ranks agree on how gradients travel before any of them creates a group for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contraflow.distributed.launch import launch, log_of
from support.forked import ForkServer
from support.processes import child_environment


@pytest.mark.parametrize("with_gpu", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_one_rank_without_a_gpu_makes_all_use_gloo(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    rank_server: ForkServer,
    with_gpu: int,
):
    """Only the rank with a GPU would create the NCCL group, and wait for the other."""
    for name, value in child_environment().items():
        monkeypatch.setenv(name, value)
    command = rank_server.command("support.agreeing_rank:main", str(tmp_path), str(with_gpu))
    assert launch(command, 2, tmp_path) == 0, log_of(tmp_path, 1).read_text()
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert (found["device"], found["total"]) == ("cpu", 3.0)
        assert found["seconds"] < 30
    printed = " ".join(capfd.readouterr().err.split())
    assert f"ranks {1 - with_gpu} have no GPU of their own: gradients go by gloo" in printed
