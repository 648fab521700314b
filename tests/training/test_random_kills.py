"""Killed at twenty random moments, a run ends where an uninterrupted one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contraflow.training import job
from support.processes import child_environment
from support.runs import (
    assert_same,
    checkpoint,
    lines,
    replay_of,
    tiny_config,
    write_tiny_facts,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

N_KILLS, N_STEPS = 20, 300

# Imports once and forks, so that a start costs its own time only and there can be many.
KILLS = """
import os, random, signal, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from support import runs as t
from contraflow.training import job
from training import test_random_kills as test

t.use_tiny_parts(setattr)
folder, rng = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
history = folder / "cut" / "history.jsonl"
done = lambda: history.read_bytes().count(b"\\n") if history.is_file() else 0

for _ in range(test.N_KILLS):
    child = os.fork()
    if not child:
        try:
            job.train(test.config_of(folder, "cut"))
        finally:
            os._exit(1)  # no child may finish
    goal, deadline = done() + rng.choice([0, 0, 1, 2]), time.monotonic() + 120
    while done() < goal:
        assert time.monotonic() < deadline and os.waitpid(child, os.WNOHANG) == (0, 0), done()
        time.sleep(0.002)
    time.sleep(rng.uniform(0.0, 0.15))
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    print(done(), flush=True)
job.train(test.config_of(folder, "cut"))
"""


def config_of(folder: Path, name: str):
    config = tiny_config(folder, name)
    config.trainer.n_steps = N_STEPS
    config.trainer.checkpoint_every = 1
    config.trainer.validate_every = 25
    return config


def test_twenty_kills_at_random_moments_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from support.runs import use_tiny_parts

    write_tiny_facts(tmp_path / "facts.jsonl")
    environment = {**os.environ, **child_environment()}
    seed = str(int.from_bytes(os.urandom(4)))  # other moments each time, printed if it fails
    ended = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path), seed],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, (seed, ended.stderr[-2000:])
    steps = [int(word) for word in ended.stdout.split()[:N_KILLS]]
    assert len(steps) == N_KILLS and len(set(steps)) > N_KILLS // 3, (seed, steps)

    use_tiny_parts(monkeypatch.setattr)
    whole, cut = job.train(config_of(tmp_path, "whole")), tmp_path / "cut"
    a, b = checkpoint(whole), checkpoint(cut)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_same(a[key], b[key], f"{key} (seed {seed})")
    assert list(cut.rglob("*.tmp")) == [], f"left behind (seed {seed})"
    assert_same(lines(whole), lines(cut), f"history (seed {seed})")
    assert_same(replay_of(a), replay_of(b), f"replay (seed {seed})")
    assert any(row.get("staleness", 0) > 0 for row in lines(whole))
