"""`trainer.max_time` stops a run when its time is used up, and it resumes unchanged."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from contraflow.errors import OUT_OF_TIME, UserError
from contraflow.settings import TrainerConfig
from contraflow.system import budget
from contraflow.system.budget import seconds_of
from contraflow.training import job
from contraflow.training.module import SamplerModule
from contraflow.training.stopping import OutOfTime
from support.forked import ForkServer
from support.runs import (
    N_STEPS,
    TRAIN,
    asks_to_stop_at,
    assert_same_run,
    checkpoint,
    lines,
    tiny_config,
    write_tiny_facts,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("45m", 2700),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1d1h1m1s", 90_061),
        ("30h", 108_000),
    ],
)
def test_a_time_is_the_sum_of_its_units(text: str, seconds: int):
    assert seconds_of(text) == seconds
    assert TrainerConfig(max_time=text).max_time == text


@pytest.mark.parametrize(
    "text", ["", "0s", "90", "45000", "12:30:00", "1h 30m", "30m1h", "-1h", "1.5h"]
)
def test_what_is_no_time_is_refused_by_its_key(text: str):
    with pytest.raises(UserError, match=r"^trainer\.max_time=.*: must be a time such as 1h30m"):
        TrainerConfig(max_time=text)


def an_hour_passes_in(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Advance the clock by an hour during this step."""
    original, ahead = SamplerModule.training_step, [0.0]

    def training_step(self: SamplerModule, item: Any, index: int) -> Any:
        if item.step == step:
            ahead[0] = 3600.0
        return original(self, item, index)

    monkeypatch.setattr(budget, "monotonic", lambda: time.monotonic() + ahead[0])
    monkeypatch.setattr(SamplerModule, "training_step", training_step)


@pytest.mark.parametrize("later", [None, "2h"])
def test_out_of_time_finishes_the_step_and_resumes_unchanged(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, later: str | None
):
    whole = job.train(tiny_config(tiny, "whole"))
    config = tiny_config(tiny, "cut")
    config.trainer.max_time = "1h"
    with monkeypatch.context() as patch, pytest.raises(OutOfTime) as caught:
        an_hour_passes_in(2, patch)
        job.train(config)
    cut = tiny / "cut"
    last = cut / "checkpoints" / "last.ckpt"
    assert str(caught.value) == (
        f"trainer.max_time=1h is used up at step 3 of {N_STEPS}; a checkpoint is in {last}. "
        "Start the same command again to go on, with as much time again"
    )
    assert checkpoint(cut)["global_step"] == 3 == len(lines(cut))
    config.trainer.max_time = later
    job.train(config)
    assert (cut / "finished").is_file()
    assert_same_run(whole, cut)


@pytest.mark.slow
def test_each_start_does_a_step_whatever_its_time(tiny: Path):
    """Preparing may take all of it.

    A scheduler that requeues still reaches the end, and the same one.
    """
    whole = job.train(tiny_config(tiny, "whole"))
    config = tiny_config(tiny, "cut")
    config.trainer.max_time = "1s"
    for done in range(1, N_STEPS + 1):
        with pytest.raises(OutOfTime, match=f"step {done} of {N_STEPS}"):
            job.train(config, started=time.monotonic() - 2.0)
    assert not (tiny / "cut" / "finished").exists()
    job.train(config, started=time.monotonic() - 2.0)  # no step is left: it evaluates and reports
    assert (tiny / "cut" / "finished").is_file()
    assert_same_run(whole, tiny / "cut")


def test_a_signal_counts_for_more_than_the_time(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    """Else a scheduler would requeue a run that a person has stopped."""
    config = tiny_config(tiny)
    config.trainer.max_time = "1s"
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted) as caught:
        asks_to_stop_at(0, patch)
        job.train(config, started=time.monotonic() - 2.0)
    assert caught.value.exit_code == 130


def test_a_process_out_of_time_exits_with_code_75(tmp_path: Path, fork_server: ForkServer):
    write_tiny_facts(tmp_path / "facts.jsonl")
    trainer = json.dumps({"n_steps": 100_000, "validate_every": 100_000, "max_time": "1s"})
    code, printed = fork_server.run(TRAIN, str(tmp_path), trainer, log=tmp_path / "log")
    assert code == OUT_OF_TIME == 75, printed
    saved = checkpoint(tmp_path / "run")["global_step"]
    last = printed.strip().splitlines()[-1]
    assert last.startswith(
        f"contraflow: trainer.max_time=1s is used up at step {saved} of 100000; "
    )
    assert "Traceback" not in printed
    assert [row["step"] for row in lines(tmp_path / "run")] == list(range(saved))
