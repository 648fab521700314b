"""Two real ranks whose script gives each a judge of its own: the same one, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contraflow.distributed.launch import launch, log_of
from support.forked import ForkServer
from support.own_objects import LOG_HALF
from support.processes import child_environment
from support.runs import N_STEPS, checkpoint, lines, replay_of, write_tiny_facts

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_tiny_facts(tmp_path / "facts.jsonl")
    for name, value in child_environment().items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_ranks_with_one_judge_train_together(folder: Path, rank_server: ForkServer):
    command = rank_server.command("support.own_ranks:main", str(folder), "same", "0")
    assert launch(command, 2, folder) == 0, log_of(folder, 1).read_text()
    run = folder / "same"
    assert [row["step"] for row in lines(run)] == list(range(N_STEPS))
    stored = [entry["log_contradiction"] for _, entry in replay_of(checkpoint(run)).values()]
    assert stored == pytest.approx([LOG_HALF] * len(stored)) and stored
    shown = json.loads((run / "own_objects.json").read_text())
    assert shown["judge"] == "Half (identity half-0)"


def test_ranks_with_other_judges_are_refused(folder: Path, rank_server: ForkServer):
    command = rank_server.command("support.own_ranks:main", str(folder), "other", "1")
    assert launch(command, 2, folder) != 0
    said = log_of(folder, 1).read_text()
    assert "rank 1 was given judge=Half (identity half-1), rank 0 judge=Half (iden" in said
    assert "start the same script with the same judge=, objective= and reward= in every" in said
    assert not (folder / "other" / "checkpoints" / "last.ckpt").exists()
