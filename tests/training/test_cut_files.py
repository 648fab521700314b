"""Truncated files of a run folder are refused by path and remedy before a model loads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from contraflow.cli.failures import describe
from contraflow.errors import UserError
from contraflow.replay.existing import in_checkpoint
from contraflow.run import build
from contraflow.run.session import open_run, read_run_config
from contraflow.settings import Config, EvaluationConfig
from contraflow.training import job
from support.runs import (
    Snapshot,
    asks_to_stop_at,
    assert_same_run,
    checkpoint,
    lines,
    prepare_folder,
    tiny_config,
)

pytestmark = pytest.mark.filterwarnings("ignore")


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))


def another_pickle(path: Path) -> None:
    torch.save({"epoch": 3, "model": torch.zeros(2)}, path)


def no_model(*_: object, **__: object) -> None:
    raise AssertionError("a model was loaded")


def stopped_config(folder: Path) -> Config:
    return tiny_config(folder, "stopped", evaluation=EvaluationConfig(n_samples=1))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A folder with a finished run and a run that was stopped after three of its six steps."""
    folder = tmp_path_factory.mktemp("cut_files")
    with pytest.MonkeyPatch.context() as patch:
        prepare_folder(folder, patch.setattr)
        job.train(tiny_config(folder, "finished"))
        asks_to_stop_at(2, patch)
        with pytest.raises(job.Interrupted):
            job.train(stopped_config(folder))
    return Snapshot(folder)


@pytest.fixture
def finished(trained: Snapshot, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run; loading a model fails."""
    monkeypatch.setattr(build, "load_lm", no_model)
    return trained.restore() / "finished"


@pytest.fixture
def stopped(trained: Snapshot, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Config]:
    """A run that was stopped after three of its six steps; loading a model fails."""
    monkeypatch.setattr(build, "load_lm", no_model)
    folder = trained.restore()
    return folder / "stopped", stopped_config(folder)


def refusal(config: Config) -> str:
    """Return the line of a start that is refused with exit code 2."""
    with pytest.raises(UserError) as caught:
        job.train(config)
    line, code = describe(caught.value)
    assert code == 2
    return line


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "is not a whole checkpoint: it was cut or damaged, or is another kind of file"),
        (empty, "is empty (0 bytes), so it was cut"),
        (noise, "is not a whole checkpoint: it was cut or damaged, or is another kind of file"),
        (another_pickle, "is not a checkpoint that contraflow wrote"),
    ],
)
def test_a_cut_checkpoint_is_named_before_models_load(
    stopped: tuple[Path, Config], damage: Callable[[Path], None], reason: str
):
    folder, config = stopped
    last = folder / "checkpoints" / "last.ckpt"
    damage(last)
    remedy = (
        "copy it again, or copy best.ckpt over it to go on from step 2, "
        "or remove it to start from the beginning"
    )
    assert refusal(config) == f"error: {last}: {reason}; {remedy}"
    with pytest.raises(UserError, match=re.escape(f"{last}: {reason}")):
        in_checkpoint(folder)
    last.with_name("best.ckpt").unlink()
    short = "copy it again, or remove it to start from the beginning"
    assert refusal(config) == f"error: {last}: {reason}; {short}"


def test_a_cut_best_checkpoint_is_named_too(stopped: tuple[Path, Config]):
    folder, config = stopped
    best = folder / "checkpoints" / "best.ckpt"
    cut(best)
    assert refusal(config).startswith(f"error: {best}: is not a whole checkpoint")
    assert "remove it: the best of the steps to come takes its place" in refusal(config)


@pytest.mark.parametrize("name", ["best", None])
def test_both_remedies_lead_to_the_same_end(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
):
    """From best.ckpt or from the beginning, the run ends as one that was not stopped."""
    whole = job.train(tiny_config(tiny, "whole"))
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(2, patch)
        job.train(tiny_config(tiny, "cut"))
    folder = tiny / "cut" / "checkpoints"
    if name is None:
        (folder / "last.ckpt").unlink()
    else:
        shutil.copy(folder / "best.ckpt", folder / "last.ckpt")
    assert_same_run(whole, job.train(tiny_config(tiny, "cut")))


@pytest.mark.parametrize("damage", [cut, empty, noise])
@pytest.mark.parametrize(
    "name",
    [
        "config.yaml",
        "train_facts.jsonl",
        "validation_facts.jsonl",
        "replay.json",
        "run.json",
        "evaluation/before.json",
    ],
)
def test_a_cut_file_is_named_before_models_load(
    stopped: tuple[Path, Config], name: str, damage: Callable[[Path], None]
):
    folder, config = stopped
    damage(folder / name)
    line = refusal(config)
    assert line.startswith(f"error: {folder / name}: ")
    assert "copy it again" in line or "delete it and start the run again" in line


def test_cut_questions_of_an_evaluation_are_named(stopped: tuple[Path, Config]):
    folder, config = stopped
    path = folder / "evaluation" / "before_questions.jsonl"
    cut(path)
    assert refusal(config).endswith("remove it and before.json to measure both again")


def test_missing_steps_of_a_history_are_reported(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Training does not depend on them: the run continues and reports what is missing."""
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(2, patch)
        job.train(tiny_config(tiny))
    path = tiny / "run" / "history.jsonl"
    first = path.read_bytes().splitlines()[0]
    path.write_bytes(first + b"\n\xff\xfe cut\n")
    capsys.readouterr()
    job.train(tiny_config(tiny))
    printed = " ".join("".join(capsys.readouterr()).split())
    assert "2 of the 3 steps before the checkpoint are missing, the first is step 1" in printed
    assert [row["step"] for row in lines(tiny / "run")] == [0, 3, 4, 5]
    assert checkpoint(tiny / "run")["global_step"] == 6


@pytest.mark.parametrize("damage", [cut, empty, noise])
@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "flow_head.safetensors", "flow_head.json", "sampler.json"]
)
def test_a_cut_adapter_is_named_before_models_load(
    finished: Path, name: str, damage: Callable[[Path], None]
):
    path = finished / "adapter" / name
    damage(path)
    with pytest.raises(UserError, match=re.escape(f"{path}: was cut or damaged")) as caught:
        open_run(finished)
    assert "copy the folder of the adapter again" in str(caught.value)


@pytest.mark.parametrize("damage", [cut, empty, noise])
def test_a_cut_config_is_named_when_a_run_is_opened(finished: Path, damage: Callable[[Path], None]):
    path = finished / "config.yaml"
    damage(path)
    with pytest.raises(UserError, match=re.escape(f"{path}: was cut or dam")):
        read_run_config(finished)


def test_a_damaged_adapter_is_written_anew(tiny: Path):
    """The remedy in the message: without `finished` the run only writes its results."""
    folder = job.train(replace(tiny_config(tiny)))
    weights = folder / "adapter" / "adapter_model.safetensors"
    before = weights.read_bytes()
    cut(weights)
    (folder / "finished").unlink()
    job.train(tiny_config(tiny))
    assert weights.read_bytes() == before
