"""`trainer.max_time`: a run stops when its time is used up, and goes on as if it had never stopped."""

from __future__ import annotations

import os
import subprocess
import sys
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
from support.tiny_runs import (
    N_STEPS,
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
    """The clock jumps while this step is in hand."""
    original, ahead = SamplerModule.training_step, [0.0]

    def training_step(self: SamplerModule, item: Any, index: int) -> Any:
        if item.step == step:
            ahead[0] = 3600.0
        return original(self, item, index)

    monkeypatch.setattr(budget, "monotonic", lambda: time.monotonic() + ahead[0])
    monkeypatch.setattr(SamplerModule, "training_step", training_step)


@pytest.mark.parametrize("later", [None, "2h"])
def test_the_step_in_hand_is_finished_and_another_budget_goes_on_to_the_same_end(
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


def test_each_start_does_a_step_although_its_time_was_used_up_before(tiny: Path):
    """Preparing may take all of it: a scheduler that only requeues still comes to the end, and to
    the same one.
    """
    whole = job.train(tiny_config(tiny, "whole"))
    config = tiny_config(tiny, "cut")
    config.trainer.max_time = "1s"
    for done in range(1, N_STEPS + 1):
        with pytest.raises(OutOfTime, match=f"step {done} of {N_STEPS}"):
            job.train(config, started=time.monotonic() - 2.0)
    assert not (tiny / "cut" / "finished").exists()
    job.train(config, started=time.monotonic() - 2.0)  # no step is left: measures, reports
    assert (tiny / "cut" / "finished").is_file()
    assert_same_run(whole, tiny / "cut")


def test_a_signal_counts_for_more_than_the_time(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    """Else a scheduler would requeue what a person has stopped."""
    config = tiny_config(tiny)
    config.trainer.max_time = "1s"
    with monkeypatch.context() as patch, pytest.raises(job.Interrupted) as caught:
        asks_to_stop_at(0, patch)
        job.train(config, started=time.monotonic() - 2.0)
    assert caught.value.exit_code == 130


TRAIN_FOR_A_SECOND = """
import sys
from pathlib import Path
from support import tiny_runs as t
from contraflow.training import job
from contraflow.cli.failures import tell

t.use_tiny_parts(setattr)
config = t.tiny_config(Path(sys.argv[1]))
config.trainer.n_steps, config.trainer.validate_every = 100_000, 100_000
config.trainer.max_time = "1s"
try:
    job.train(config)
except BaseException as error:
    sys.exit(tell(error))
"""


def test_a_process_of_its_own_ends_in_time_with_the_code_of_a_temporary_failure(tmp_path: Path):
    write_tiny_facts(tmp_path / "facts.jsonl")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", TRAIN_FOR_A_SECOND, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == OUT_OF_TIME == 75, ended.stderr
    saved = checkpoint(tmp_path / "run")["global_step"]
    said = ended.stderr.strip().splitlines()[-1]
    assert said.startswith(
        f"contraflow: trainer.max_time=1s is used up at step {saved} of 100000; "
    )
    assert "Traceback" not in ended.stderr
    assert [row["step"] for row in lines(tmp_path / "run")] == list(range(saved))
