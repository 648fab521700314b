"""Whole runs with real Ray whose learner, replay server, Ray head or network fails.

What actors had reported is in replay afterwards, and the run goes on to its end.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from contraflow.actors.ledger import Ledger
from contraflow.actors.messages import Collected
from contraflow.gflownet.objectives import VarGrad
from contraflow.replay.codec import content_id
from contraflow.replay.redis import RedisReplay
from contraflow.settings.running import ExchangeConfig
from support.actor_runs import (
    REPLAY_URL,
    descendants,
    n_steps_of,
    prepare,
    received,
    start,
    stored,
    stored_at,
    stored_now,
    wait_for_steps,
)
from support.actors import (
    KEEP_ALL,
    ThreadPool,
    replay_port,
    space_learner,
    space_of,
    space_worker,
)
from support.endurance import times
from support.exact_actors import fit_space
from support.forked import Child, ForkServer
from support.ray import needs_ray
from support.runs import lines
from support.stalling import StallingProxy

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

N_KILLS = times(2, 5)


def random_moments() -> random.Random:
    """A generator whose seed is printed, which pytest shows where a test fails."""
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    return random.Random(seed)


def assert_whole(folder: Path, n_steps: int, admitted: set[str]) -> None:
    """All steps are there once, and every question that was in replay or reported."""
    assert [row["step"] for row in lines(folder / "run")] == list(range(n_steps))
    assert len(admitted) > 10 * N_KILLS
    assert admitted | received(folder) <= stored(folder)


@needs_ray
def test_kills_of_the_replay_server_lose_no_question(tmp_path: Path, fork_server: ForkServer):
    """Its supervisor starts it again; learner and actors wait, and go on by themselves."""
    prepare(tmp_path)
    log = tmp_path / "log"
    rng = random_moments()
    n_steps = 40 * N_KILLS
    trainer = {"n_steps": n_steps, "checkpoint_every": 20}
    run = start(fork_server, tmp_path, log, trainer=trainer, exchange={"actors": 2})
    killed: set[int] = set()
    admitted: set[str] = set()
    try:
        while len(killed) < N_KILLS:
            wait_for_steps(run, tmp_path, n_steps_of(tmp_path) + rng.choice([1, 3, 6]), log)
            time.sleep(rng.uniform(0.0, 0.5))
            admitted |= stored_now(tmp_path)
            for server in descendants(run.pid, "valkey-server"):
                server.send_signal(signal.SIGKILL)
                killed.add(server.pid)
        assert run.wait(400) == 0, log.read_text()[-3000:]
    finally:
        run.kill()
    assert_whole(tmp_path, n_steps, admitted)


def kill_learner(run: Child) -> None:
    run.kill()
    assert run.wait(60) == -signal.SIGKILL


def kill_head(run: Child) -> None:
    """The process that keeps the state of a Ray cluster."""
    (head,) = descendants(run.pid, "gcs_server")
    head.send_signal(signal.SIGKILL)
    assert run.wait(120) == 2


@needs_ray
@pytest.mark.parametrize(
    ("kill", "n_steps"), [(kill_learner, 40 * N_KILLS), (kill_head, 60 * N_KILLS + 80)]
)
def test_kills_that_end_the_run_lose_no_question(
    tmp_path: Path, fork_server: ForkServer, kill: Callable[[Child], None], n_steps: int
):
    """The same command goes on at once, beside what Ray has not yet cleared away.

    A run goes on until it notices that the head is gone, and must not end by itself before.
    """
    prepare(tmp_path)
    log = tmp_path / "log"
    rng = random_moments()
    changes = {
        "trainer": {"n_steps": n_steps, "checkpoint_every": 4},
        "exchange": {"actors": 1},
        "head_patience_s": 0.5,
    }
    admitted: set[str] = set()
    for _ in range(N_KILLS):
        # A resumed run begins below this goal, at its last checkpoint.
        goal = n_steps_of(tmp_path) + rng.choice([5, 6, 8])
        run = start(fork_server, tmp_path, log, **changes)
        try:
            wait_for_steps(run, tmp_path, goal, log)
            time.sleep(rng.uniform(0.0, 0.3))
            admitted |= stored_now(tmp_path)
            kill(run)
        finally:
            run.kill()
        assert admitted | received(tmp_path) <= stored(tmp_path)
    run = start(fork_server, tmp_path, log, **changes)
    try:
        assert run.wait(500) == 0, log.read_text()[-3000:]
    finally:
        run.kill()
    assert log.read_text().count("resuming from step") == N_KILLS
    assert_whole(tmp_path, n_steps, admitted)


def wait_for_reconnection(proxy: StallingProxy) -> None:
    """Wait until a client has given up on its connection and opened another one."""
    connections = proxy.accepted
    deadline = time.monotonic() + 60
    while proxy.accepted == connections:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@needs_ray
def test_a_run_waits_for_a_network_that_stalls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fork_server: ForkServer
):
    """Silence for longer than the client's time limit, three times; then it goes on."""
    prepare(tmp_path)
    log = tmp_path / "log"
    with replay_port() as port, StallingProxy(port) as proxy:
        monkeypatch.setenv(REPLAY_URL, f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.5")
        changes = {"trainer": {"n_steps": 120}, "exchange": {"actors": 2}}
        run = start(fork_server, tmp_path, log, **changes, replay={"patience_s": 30.0})
        try:
            for _ in range(3):
                wait_for_steps(run, tmp_path, n_steps_of(tmp_path) + 5, log)
                with proxy.stalled():
                    wait_for_reconnection(proxy)
                    time.sleep(1.0)
            assert run.wait(240) == 0, log.read_text()[-3000:]
        finally:
            run.kill()
        assert [row["step"] for row in lines(tmp_path / "run")] == list(range(120))
        assert received(tmp_path) <= stored_at(f"redis://127.0.0.1:{port}/0", tmp_path)


def test_actors_and_learner_wait_for_a_network_that_stalls(monkeypatch: pytest.MonkeyPatch):
    """Actors are threads here, with clients of their own; the server is real."""
    reported: set[tuple[str, str]] = set()
    original = Ledger.receive

    def receive(self: Ledger, collected: Collected) -> None:
        reported.update((s.fact_key, content_id(s)) for s in collected.batch.scored)
        original(self, collected)

    monkeypatch.setattr(Ledger, "receive", receive)
    exchange = ExchangeConfig(kind="actors", actors=2, newest_share=0.5, timeout_s=60.0)
    with replay_port() as port, StallingProxy(port) as proxy, ThreadPoolExecutor() as threads:
        url = f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.05"
        pool = ThreadPool(2, partial(space_worker, url))
        space = space_of()
        learner = space_learner(space, url, exchange, pool)
        silence = threads.submit(stall_soon, proxy, reported)
        steps = fit_space(space, learner, VarGrad(), 6)
        silence.result()
        assert len(steps) == 6
        with RedisReplay("exact", KEEP_ALL, f"redis://127.0.0.1:{port}/0") as replay:
            kept = {(e.scored.fact_key, e.entry_id) for e in replay.entries()}
    assert reported and reported <= kept


def stall_soon(proxy: StallingProxy, reported: set[tuple[str, str]]) -> None:
    """Stall for some of the clients' time limits once an actor has reported."""
    while not reported:
        time.sleep(0.01)
    with proxy.stalled():
        wait_for_reconnection(proxy)
        time.sleep(0.2)
