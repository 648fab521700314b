"""Ranks agree on how gradients travel before any of them creates a group for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from contraflow.distributed.launch import launch, log_of
from support.processes import child_environment

CODE = """
import json, sys, time
from pathlib import Path
import torch
from contraflow.distributed.rank_info import rank_info_from_environment
from contraflow.distributed.ranks import RankGroup
info = rank_info_from_environment()
gpu = torch.device("cuda", 0) if info.rank == int(sys.argv[2]) else None
started = time.monotonic()
ranks = RankGroup(info, 60.0, gpu=gpu)
total = ranks.all_reduce(torch.tensor([1.0 + info.rank]), "sum").item()
seconds = time.monotonic() - started
ranks.close()
found = {"device": str(ranks._device), "total": total, "seconds": seconds}
(Path(sys.argv[1]) / f"{info.rank}.json").write_text(json.dumps(found))
"""


@pytest.mark.parametrize("with_gpu", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_one_rank_without_a_gpu_makes_all_use_gloo(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    with_gpu: int,
):
    """Only the rank with a GPU would create the NCCL group, and wait for the other."""
    for name, value in child_environment().items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", CODE, str(tmp_path), str(with_gpu)]
    assert launch(command, 2, tmp_path) == 0, log_of(tmp_path, 1).read_text()
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert (found["device"], found["total"]) == ("cpu", 3.0)
        assert found["seconds"] < 30
    printed = " ".join(capfd.readouterr().err.split())
    assert f"ranks {1 - with_gpu} have no GPU of their own: gradients go by gloo" in printed
