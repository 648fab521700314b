"""A whole run of a tiny model: stopped and resumed, it equals one that was not stopped."""

from __future__ import annotations

import csv
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from contraflow.errors import UserError
from contraflow.run.folder import read_settings
from contraflow.settings import DataConfig, LoggerConfig, ReplayConfig, RewardConfig, TrainerConfig
from contraflow.training import job
from contraflow.training.module import SamplerModule
from support.forked import ForkServer
from support.models import fresh_lm
from support.runs import (
    N_STEPS,
    TRAIN,
    asks_to_stop_at,
    assert_same,
    checkpoint,
    lines,
    replay_of,
    tiny_config,
    use_tiny_parts,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    whole = job.train(tiny_config(tiny, "whole"))
    with (
        monkeypatch.context() as patch,
        pytest.raises(job.Interrupted, match="stopped at step 3") as caught,
    ):
        asks_to_stop_at(2, patch, number)
        job.train(tiny_config(tiny, "cut"))
    cut = tiny / "cut"
    assert f"a checkpoint is in {cut / 'checkpoints' / 'last.ckpt'}" in str(caught.value)
    assert [row["step"] for row in lines(cut)] == [0, 1, 2]
    assert checkpoint(cut)["global_step"] == 3
    assert not (cut / "finished").exists()

    assert job.train(tiny_config(tiny, "cut")) == cut
    assert (cut / "finished").is_file()
    a, b = checkpoint(whole), checkpoint(cut)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_same(a[key], b[key], key)
    assert_same(
        checkpoint(whole, "best")["state_dict"], checkpoint(cut, "best")["state_dict"], "best"
    )
    assert_same(lines(whole), lines(cut), "history")
    assert_same(lines(whole, "probes.jsonl"), lines(cut, "probes.jsonl"), "probes")
    assert_same(replay_of(a), replay_of(b), "replay")


def test_the_csv_table_of_an_earlier_start_is_kept(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    """The logger of Lightning would delete the table that it finds."""
    config = tiny_config(tiny, logger=LoggerConfig(csv=True, wandb="disabled"))
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(2, patch)
        job.train(config)
    folder = job.train(config)
    tables = [folder / "csv" / "metrics.csv", folder / "csv" / "start_2" / "metrics.csv"]
    steps = [
        [row["step"] for row in csv.DictReader(table.open()) if row["train/loss"]]
        for table in tables
    ]
    assert steps == [["0", "1", "2"], ["3", "4", "5"]]


def test_a_second_process_in_the_same_folder_is_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, fork_server: ForkServer
):
    """A scheduler may start a run again while the first still writes, and must not disturb it."""
    ended: list[tuple[int, str]] = []
    original = SamplerModule.training_step

    def training_step(self: SamplerModule, item: Any, index: int) -> Any:
        if item.step == 2:
            ended.append(fork_server.run(TRAIN, str(tiny), "{}", log=tiny / "log"))
        return original(self, item, index)

    with monkeypatch.context() as patch:
        patch.setattr(SamplerModule, "training_step", training_step)
        folder = job.train(tiny_config(tiny))
    ((code, printed),) = ended
    assert (code, printed.strip().splitlines()[-1]) == (
        2,
        f"contraflow: error: {folder}: another process trains in this folder; wait for it to end, "
        "or choose another name=…",
    )
    assert_same(lines(job.train(tiny_config(tiny, "whole"))), lines(folder), "history")


def test_the_run_that_is_compared_has_all_that_could_differ(tiny: Path):
    """Replayed and tempered steps after the cut, and weights that moved.

    Else the comparison of two runs would show nothing.
    """
    folder = job.train(tiny_config(tiny))
    after = lines(folder)[3:]
    assert any(row["replay_share"] > 0 for row in after) and any(
        row["replay_share"] == 0 for row in after
    )
    assert any(row["pf_temp"] != 1 for row in lines(folder))
    assert len({row["reward_temp"] for row in lines(folder)}) > 2
    moved = checkpoint(folder)["state_dict"]
    assert all(
        bool(value.any())
        for name, value in moved.items()
        if "lora_B" in name or "flow/outer" in name
    )


@pytest.mark.defect(12)
def test_a_checkpoint_holds_what_is_trained_as_weights_only(tiny: Path):
    """Adapter, flow head, their optimizer state, replay as bytes, and no backbone tensor."""
    folder = job.train(tiny_config(tiny))
    saved = checkpoint(folder)
    names = set(saved["state_dict"])
    assert names and all("lora_A" in name or "lora_B" in name or ".flow." in name for name in names)
    frozen = [p for p in fresh_lm().model.parameters() if p.ndim == 2]
    for name, value in saved["state_dict"].items():
        assert not any(p.shape == value.shape and torch.equal(p, value) for p in frozen), name
    moments = saved["optimizer_states"][0]["state"]
    assert sum(m["exp_avg"].numel() for m in moments.values()) == sum(
        v.numel() for v in saved["state_dict"].values()
    )
    assert saved["replay"].dtype == torch.uint8


def test_other_settings_do_not_resume_a_run(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(1, patch)
        job.train(tiny_config(tiny))
    before = (tiny / "run" / "config.yaml").read_bytes()
    other = RewardConfig(penalized_reward_end_step=4, reward_temp_start=2.5, reward_temp_horizon=5)
    with pytest.raises(
        UserError,
        match=r"was trained with reward\.reward_temp_start=3\.0, now .*=2\.5 \(1 setting differs",
    ):
        job.train(tiny_config(tiny, reward=other))
    assert (tiny / "run" / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("store", ["memory", "embedded"])
def test_a_moved_run_resumes_as_the_run_it_was(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, store: str
):
    """Another parent, folder and name; the old place is gone."""
    replay = ReplayConfig(store=store)
    logger = LoggerConfig(csv=True, wandb="disabled")
    whole = job.train(tiny_config(tiny, "whole", replay=replay, logger=logger))
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted):
        asks_to_stop_at(2, patch)
        job.train(tiny_config(tiny, "cut", replay=replay, logger=logger))
    (tiny / "elsewhere").mkdir()
    moved = tiny / "elsewhere" / "moved"
    shutil.move(tiny / "cut", moved)
    config = tiny_config(tiny, "new name", replay=replay, logger=logger)
    assert job.train(replace(config, run_dir=str(moved))) == moved
    assert not (tiny / "cut").exists()
    assert [path.name for path in (tiny / "elsewhere").iterdir()] == ["moved"]
    a, b = checkpoint(whole), checkpoint(moved)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_same(a[key], b[key], key)
    assert_same(lines(whole), lines(moved), "history")
    written = read_settings(moved / "config.yaml", "")
    assert (written.name, written.run_dir) == ("new name", str(moved))


def test_settings_may_change_before_the_first_checkpoint(tiny: Path, monkeypatch):
    """A start that failed leaves its choice of facts, which another choice must not reuse."""
    with monkeypatch.context() as patch:
        use_tiny_parts(patch.setattr, lambda *_: float("nan"))
        with pytest.raises(UserError):
            job.train(tiny_config(tiny))
    few = DataConfig(
        facts=str(tiny / "facts.jsonl"),
        filter_known=False,
        max_train_facts=3,
        max_validation_facts=1,
    )
    folder = job.train(tiny_config(tiny, data=few))
    assert len((folder / "train_facts.jsonl").read_text().splitlines()) == 3
    assert len((folder / "validation_facts.jsonl").read_text().splitlines()) == 1


def test_a_finished_run_is_left_alone(tiny: Path):
    folder = job.train(tiny_config(tiny))
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    job.train(tiny_config(tiny))
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_killed_after_its_last_step_only_finishes(tiny: Path):
    folder = job.train(tiny_config(tiny))
    (folder / "finished").unlink()
    before = checkpoint(folder), lines(folder)
    job.train(tiny_config(tiny))
    assert (folder / "finished").is_file()
    assert_same(before[0]["state_dict"], checkpoint(folder)["state_dict"])
    assert before[1] == lines(folder)


def test_history_is_cut_back_to_the_checkpoint(tiny: Path, monkeypatch):
    """Killed two steps after the checkpoint in the middle of a line: no step is there twice."""
    every_two = TrainerConfig(
        n_steps=N_STEPS,
        facts_per_step=2,
        threads=1,
        checkpoint_every=2,
        validate_every=3,
        probe_every=1,
    )
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        original = SamplerModule.training_step

        def training_step(self: SamplerModule, item: Any, index: int) -> Any:
            if item.step == 3:
                raise RuntimeError("power cut")
            return original(self, item, index)

        patch.setattr(SamplerModule, "training_step", training_step)
        job.train(tiny_config(tiny, trainer=every_two))
    folder = tiny / "run"
    assert [row["step"] for row in lines(folder)] == [0, 1, 2]
    for name in ("history.jsonl", "probes.jsonl"):
        with (folder / name).open("a") as handle:
            handle.write('{"step": 3, "lo')
    job.train(tiny_config(tiny, trainer=every_two))
    assert [row["step"] for row in lines(folder)] == list(range(N_STEPS))
    steps = [row["step"] for row in lines(folder, "probes.jsonl")]
    assert steps == sorted(steps) and set(steps) == set(range(N_STEPS))


def test_a_run_refuses_facts_that_were_corrected_meanwhile(tiny: Path):
    """It would go on with those that it chose from the old file, and not say so."""
    config = tiny_config(tiny)
    config.trainer.n_steps = 1
    folder = job.train(config)
    kept = (folder / "train_facts.jsonl").read_bytes()
    path = tiny / "facts.jsonl"
    path.write_text(path.read_text().replace("hamlet is the rome", "hamlet is the city of rome"))
    with pytest.raises(UserError, match=r"facts\.jsonl: has other facts than when .* started"):
        job.train(config)
    assert (folder / "train_facts.jsonl").read_bytes() == kept
