"""Loggers over several starts of one run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.run import build
from contraflow.settings import LoggerConfig
from contraflow.training import job
from contraflow.training.loggers import wandb_run_id
from support.runs import asks_to_stop_at, tiny_config

pytestmark = pytest.mark.filterwarnings("ignore")


def test_every_start_of_a_run_is_the_same_wandb_run(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    config = tiny_config(tiny, logger=LoggerConfig(csv=False, wandb="offline"))
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(2, patch)
        job.train(config)
    folder = job.train(config)
    starts = [path.name for path in folder.rglob("run-*.wandb")]
    kept = (folder / "wandb_id").read_text().strip()
    assert starts == [f"run-{kept}.wandb"] * 2
    other = tiny / "other"
    other.mkdir()
    assert wandb_run_id(other) != kept


def test_a_folder_without_an_id_keeps_that_of_its_first_start(tmp_path: Path):
    for name in ("offline-run-20260103_000000-second", "run-20260102_000000-first", "latest-run"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert wandb_run_id(tmp_path) == "first"
    assert wandb_run_id(tmp_path) == "first"


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"a/b"])
def test_a_damaged_id_is_named_before_models_load(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
):
    config = tiny_config(tiny, logger=LoggerConfig(csv=False, wandb="offline"))
    path = tiny / "run" / "wandb_id"
    path.parent.mkdir()
    path.write_bytes(content)
    monkeypatch.setattr(build, "load_lm", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(UserError, match=re.escape(f"{path}: was cut or damaged")):
        job.train(config)
