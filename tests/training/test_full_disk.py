"""Full disks and limited files: nothing half-written counts, and the run resumes later."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contraflow.errors import UserError
from contraflow.settings import Config, LoggerConfig
from contraflow.system.files import append, explain_full_disk, write_atomically
from contraflow.training import job
from contraflow.training.module import SamplerModule
from support.forked import ForkServer
from support.runs import TRAIN, asks_to_stop_at, assert_same_run, checkpoint, tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PAGE = 4096  # the unit in which tmpfs gives space


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path, free: int) -> None:
    """Fill the disk up to this number of free bytes."""
    with (disk / "filler").open("wb") as file:
        status = os.statvfs(disk)
        file.write(b"x" * max(0, status.f_bavail * status.f_frsize - free))


def fills_up_in(
    step: int, disk: Path, free: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fill the disk during this step."""
    original = SamplerModule.training_step

    def training_step(self: SamplerModule, item: Any, index: int) -> Any:
        if item.step == step:
            fill(disk, free())
        return original(self, item, index)

    monkeypatch.setattr(SamplerModule, "training_step", training_step)


def config_of(facts: Path, folder: Path, **trainer: Any) -> Config:
    config = tiny_config(facts, "run")
    config.run_dir = str(folder)
    return replace(
        config,
        trainer=replace(config.trainer, **trainer),
        logger=LoggerConfig(csv=True, wandb="disabled"),
    )


def assert_same_and_tidy(whole: Path, cut: Path) -> None:
    assert_same_run(whole, cut)
    assert list(cut.rglob("*.tmp")) == []


def test_a_disk_full_in_mid_checkpoint_leaves_the_old_one(
    tiny: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
):
    cut = disk / "run"
    last = cut / "checkpoints" / "last.ckpt"
    before: list[bytes] = []

    def half_a_checkpoint() -> int:
        before.append(last.read_bytes())
        return len(before[0]) // 2

    with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
        fills_up_in(3, disk, half_a_checkpoint, patch)
        job.train(config_of(tiny, cut, checkpoint_every=2, validate_every=6))
    remedy = "free some space and start the same command again"
    assert str(caught.value) == f"{last}: cannot be written (No space left on device); {remedy}"
    assert last.read_bytes() == before[0] and checkpoint(cut)["global_step"] == 2
    assert list(cut.rglob("*.tmp")) == []

    with pytest.raises(
        UserError, match="No space left on device"
    ):  # at once, because nothing was freed
        fill(disk, 0)
        job.train(config_of(tiny, cut, checkpoint_every=2, validate_every=6))
    assert last.read_bytes() == before[0]

    (disk / "filler").unlink()
    job.train(config_of(tiny, cut, checkpoint_every=2, validate_every=6))
    assert_same_and_tidy(
        job.train(config_of(tiny, tiny / "whole", checkpoint_every=2, validate_every=6)), cut
    )


@pytest.mark.parametrize(("name", "probe_every"), [("history.jsonl", 100), ("probes.jsonl", 1)])
def test_a_line_torn_by_a_full_disk_is_whole_after_the_resume(
    tiny: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, name: str, probe_every: int
):
    """The page in use still takes some lines, so the disk refuses one in its middle."""
    cut, trainer = (
        disk / "run",
        {"n_steps": 24, "checkpoint_every": 12, "validate_every": 24, "probe_every": probe_every},
    )
    with (
        monkeypatch.context() as patch,
        pytest.raises(UserError, match=r"No space left on device") as caught,
    ):
        fills_up_in(13, disk, lambda: 0, patch)
        job.train(config_of(tiny, cut, **trainer))
    assert str(caught.value).startswith(f"{cut / name}: cannot be written")
    torn = (cut / name).read_bytes()
    assert not torn.endswith(b"\n") and len(torn) % PAGE == 0
    assert checkpoint(cut)["global_step"] == 12
    (disk / "filler").unlink()
    job.train(config_of(tiny, cut, **trainer))
    assert_same_and_tidy(job.train(config_of(tiny, tiny / "whole", **trainer)), cut)


def test_the_error_is_what_stopped_the_run_and_not_a_later_one(
    tiny: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
):
    """The CSV logger writes its table at the end of training, and fails for want of space too."""
    cut, trainer = disk / "run", {"n_steps": 24, "checkpoint_every": 24, "validate_every": 24}
    with monkeypatch.context() as patch, pytest.raises(UserError) as caught:
        fills_up_in(2, disk, lambda: 0, patch)
        job.train(config_of(tiny, cut, **trainer, probe_every=100))
    assert str(caught.value).startswith(
        f"{cut / 'history.jsonl'}: cannot be written (No space left on device)"
    )


def test_an_adapter_that_does_not_fit_is_not_saved_in_part(tiny: Path, disk: Path):
    """A run killed after its last step only saves its adapters.

    Some pages are enough for everything before that.
    """
    config = config_of(tiny, disk / "run")
    folder = job.train(config)
    adapters = [folder / "adapter", folder / "adapter_last"]
    before = [{p.name: p.read_bytes() for p in adapter.iterdir()} for adapter in adapters]
    (folder / "finished").unlink()
    for adapter in adapters:
        shutil.rmtree(adapter)
    fill(disk, 5 * PAGE)
    with pytest.raises(UserError, match="free some space and start the same command again"):
        job.train(config)
    assert not any(map(Path.exists, adapters)) and not list(folder.rglob("*.tmp"))
    (disk / "filler").unlink()
    job.train(config)
    assert [{p.name: p.read_bytes() for p in adapter.iterdir()} for adapter in adapters] == before


def test_a_checkpoint_over_a_quota_is_one_line_with_exit_code_2(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, fork_server: ForkServer
):
    """A child with a limit of file size stands for a quota, which would need root."""
    trainer = {"checkpoint_every": 4, "validate_every": 6}
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(1, patch)
        job.train(config_of(tiny, tiny / "run", **trainer))
    folder = tiny / "run"
    last = folder / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    limited = json.dumps({**trainer, "csv": True, "max_file_bytes": len(before) // 2})
    code, printed = fork_server.run(TRAIN, str(tiny), limited, log=tiny / "log")
    assert code == 2, printed
    messages = [line for line in printed.splitlines() if line.startswith("contraflow: ")]
    assert messages == [
        f"contraflow: error: {last}: cannot be written (File too large); "
        "free some space and start the same command again"
    ]
    assert "Traceback" not in printed
    assert last.read_bytes() == before and not list(folder.rglob("*.tmp"))
    whole = job.train(config_of(tiny, tiny / "whole", **trainer))
    assert_same_and_tidy(whole, job.train(config_of(tiny, folder, **trainer)))


def test_a_full_disk_leaves_the_old_file_and_names_the_new(disk: Path):
    path = disk / "metrics.json"
    write_atomically(path, b"old")
    fill(disk, 2 * PAGE)
    with pytest.raises(
        UserError, match=rf"^{path}: cannot be written \(No space left on device\); free some"
    ):
        write_atomically(path, b"n" * 3 * PAGE)
    assert path.read_bytes() == b"old"
    assert sorted(p.name for p in disk.iterdir()) == ["filler", "metrics.json"]


def test_a_write_removes_what_a_killed_writer_of_it_left(
    tmp_path: Path,
):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = {
        f".last.ckpt.{ended.pid}.tmp": False,
        f".last.ckpt.{os.getppid()}.tmp": True,  # its writer is alive
        f".best.ckpt.{ended.pid}.tmp": True,
        ".last.ckpt.mine.tmp": True,
    }
    for name in names:
        (tmp_path / name).touch()
    write_atomically(tmp_path / "last.ckpt", b"")
    assert {name: (tmp_path / name).exists() for name in names} == names


def test_a_line_that_does_not_fit_is_reported_with_its_file(disk: Path):
    fill(disk, 0)
    with pytest.raises(
        UserError, match=r"history\.jsonl: cannot be written \(No space left on device\)"
    ):
        append(disk / "history.jsonl", b"{}\n")


def test_an_error_without_a_file_is_reported_with_the_folder(disk: Path):
    fill(disk, 0)
    with (
        pytest.raises(UserError) as caught,
        explain_full_disk(disk),
        (disk / "table").open("wb") as file,
    ):
        file.write(b"x")
    assert (
        str(caught.value)
        == f"{disk}: the disk is full; free some space and start the same command again"
    )
