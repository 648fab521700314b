"""Two learners and Ray's actors, started by the command: a whole run, stops, and a killed rank."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from support.actor_runs import actors_of, n_steps_of, stored, stored_now, wait_for_steps
from support.learner_runs import command, prepare_command, rank_of
from support.ray import needs_ray
from support.runs import lines

pytestmark = [needs_ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PATIENCE_S = 600  # every process of a run imports torch, on a machine that may be busy
BOUNDS = ("exchange.max_staleness=4", "exchange.max_reuse=3", "exchange.newest_share=0.5")


def ends_with(code: int, run: subprocess.Popen[bytes], log: Path) -> None:
    assert run.wait(PATIENCE_S) == code, log.read_text()[-3000:]


def assert_bounds(folder: Path, n_steps: int) -> None:
    history = lines(folder / "run")
    assert [row["step"] for row in history] == list(range(n_steps))
    assert all(row["versions_behind"] <= 4 and row["uses"] <= 3 for row in history)


def test_two_learners_train_by_the_command(tmp_path: Path):
    """Each step learns from two facts a rank, of four questions each: about 16, not 8."""
    prepare_command(tmp_path)
    log = tmp_path / "log"
    with command(tmp_path, log, "trainer.n_steps=20", *BOUNDS) as run:
        ends_with(0, run, log)
    assert_bounds(tmp_path, 20)
    folder = tmp_path / "run"
    assert any(0 < row["replay_share"] < 1 for row in lines(folder))
    exchange = json.loads((folder / "exchange.json").read_text())
    assert (exchange["actors"], exchange["learners"]) == (2, 2)
    assert exchange["learned"] > 1.5 * 20 * 8
    ranks = json.loads((folder / "ranks.json").read_text())
    assert [rank["holds"] for rank in ranks] == ["sampler, oracle and judge", "sampler only"]
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert "of the time, the 2 learners" in " ".join(log.read_text().split())


def test_stopped_learners_go_on_with_other_numbers_of_actors(tmp_path: Path):
    """A policy gradient, whose densities travel, so that nothing comes from replay."""
    prepare_command(tmp_path)
    log = tmp_path / "log"
    words = ("trainer.n_steps=40", *BOUNDS, "objective=rloo")
    with command(tmp_path, log, *words) as run:
        wait_for_steps(run, tmp_path, 4, log, PATIENCE_S)
        run.send_signal(signal.SIGINT)
        ends_with(130, run, log)
    done = n_steps_of(tmp_path)
    assert 4 <= done < 40
    with command(tmp_path, log, *words, "exchange.actors=1") as run:
        ends_with(0, run, log)
    assert f"resuming from step {done} of 40" in log.read_text()
    assert_bounds(tmp_path, 40)
    history = lines(tmp_path / "run")
    assert all(0 < row["ratio_ess"] <= 1 + 1e-6 and row["replay_share"] == 0 for row in history)


def test_a_killed_learner_ends_the_run_and_loses_no_question(tmp_path: Path):
    prepare_command(tmp_path)
    log = tmp_path / "log"
    words = ("trainer.n_steps=20", "trainer.checkpoint_every=2", *BOUNDS)
    with command(tmp_path, log, *words) as run:
        wait_for_steps(run, tmp_path, 5, log, PATIENCE_S)
        admitted = stored_now(tmp_path)
        family = [*psutil.Process(run.pid).children(), *actors_of(run)]
        rank_of(run, 1).kill()
        ends_with(1, run, log)
    said = log.read_text().strip().splitlines()
    assert "rank 1 was ended by SIGKILL" in said[-1]
    assert said[-1].endswith("Start the same command again")
    assert not psutil.wait_procs(family, timeout=180)[1]
    assert admitted and admitted <= stored(tmp_path)
    with command(tmp_path, log, *words) as run:
        ends_with(0, run, log)
    assert_bounds(tmp_path, 20)
    assert admitted <= stored(tmp_path)


def test_more_learners_than_facts_end_before_any_model_loads(tmp_path: Path):
    prepare_command(tmp_path)
    log = tmp_path / "log"
    with command(tmp_path, log, "data.max_train_facts=1") as run:
        ends_with(2, run, log)
    assert log.read_text().strip() == (
        "contraflow: error: 1 training facts do not go round 2 ranks; give more facts, or fewer "
        "trainer.devices"
    )
