"""Real ranks that fail, are killed or are slow: all end with the reason, and the run resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.processes import child_environment
from support.runs import (
    N_STEPS,
    assert_same,
    checkpoint,
    lines,
    replay_of,
    write_tiny_facts,
)

# Each test starts two to six processes.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("rank_server"),
]

PROGRAM = ("support.forked", "support.faulty_rank:main")
# Not forked, so that it ends with its launcher.
OWN_PROCESS = ("support.faulty_rank",)
LAUNCH = "import sys; from pathlib import Path; from contraflow.distributed.launch import launch; "
OURS = [sys.executable, "-c", LAUNCH + "sys.exit(launch(sys.argv[2:], 2, Path(sys.argv[1])))"]


class Ended(NamedTuple):
    code: int
    printed: str
    seconds: float


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_facts(tmp_path / "facts.jsonl")
    return tmp_path


def start(
    folder: Path, launcher: list[str], program: tuple[str, ...] = PROGRAM, **plan: Any
) -> subprocess.Popen[str]:
    environment = {**os.environ, **child_environment(), "PYTHONWARNINGS": "ignore"}
    command = [*launcher, "-m", *program, str(folder), json.dumps(plan)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=folder)


def run(
    folder: Path,
    launcher: list[str] | None = None,
    program: tuple[str, ...] = PROGRAM,
    **plan: Any,
) -> Ended:
    started = time.monotonic()
    process = start(folder, launcher or ours(folder), program, **plan)
    try:
        _, printed = process.communicate(timeout=180)
    finally:
        process.kill()
    return Ended(process.returncode, printed, time.monotonic() - started)


def ours(folder: Path) -> list[str]:
    return [*OURS, str(folder / "ranks"), sys.executable]


def torchrun(n: int, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={n}",
        *options,
    ]


@pytest.mark.parametrize("kind", ["scatter", "symmetric"])
def test_a_user_error_of_one_rank_ends_all_with_its_message(folder: Path, kind: str):
    ended = run(folder, kind=kind, rank=1, step=2, user="fact 7 is odd; mend it")
    assert ended.code == 2
    last = ended.printed.strip().splitlines()[-1]
    assert last.startswith("contraflow: error: rank 1: fact 7 is odd; mend it (all it said is in ")
    assert "Traceback" not in ended.printed


def test_a_bug_of_one_rank_ends_all_with_code_1(folder: Path):
    ended = run(folder, rank=0, step=2, bug="by nought")
    assert ended.code == 1
    assert "ZeroDivisionError: by nought; this is a bug" in ended.printed


def test_a_slow_rank_0_times_out_with_ranks_phase_and_key(folder: Path):
    """Two minutes in the oracle against a timeout of 3 s; nobody waits the two minutes."""
    ended = run(folder, sleep=120.0, timeout_s=3.0)
    assert ended.code == 2
    assert (
        "rank 1 waited 3 s for rank 0 in the phase 'answers and verdicts of step 0'"
        in ended.printed
    )
    assert "raise exchange.timeout_s" in ended.printed
    assert ended.seconds < 120


@pytest.mark.parametrize("store", ["memory", "embedded"])
def test_a_killed_rank_ends_all_and_the_run_resumes_unchanged(folder: Path, store: str):
    trainer = {"checkpoint_every": 2}
    ended = run(folder, name="cut", store=store, trainer=trainer, rank=1, step=3, kill=True)
    assert ended.code == 1
    assert (
        "rank 1 was ended by SIGKILL" in ended.printed
        and "Start the same command again" in ended.printed
    )
    assert checkpoint(folder / "cut")["global_step"] == 2
    again = run(folder, name="cut", store=store, trainer=trainer, rank=1, step=3, kill=True)
    assert again.code == 0, again.printed
    assert f"resuming from step 2 of {N_STEPS}" in again.printed
    # Strings have other hashes in processes that are not forked, which must change nothing.
    whole = run(folder, program=OWN_PROCESS, name="whole", store=store, trainer=trainer)
    assert whole.code == 0, whole.printed
    a, b = checkpoint(folder / "whole"), checkpoint(folder / "cut")
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_same(a[key], b[key], key)
    assert_same(lines(folder / "whole"), lines(folder / "cut"), "history")
    assert_same(replay_of(a), replay_of(b), "replay of rank 0")
    others = [{"replay": saved["replay_of_others"][0]} for saved in (a, b) if store == "memory"]
    assert_same(
        [replay_of(o) for o in others[:1]], [replay_of(o) for o in others[1:]], "replay of rank 1"
    )
    assert any(row["replay_share"] > 0 for row in lines(folder / "whole")[2:])


def test_torchrun_restarts_the_ranks_from_the_checkpoint(folder: Path):
    """The store of torchrun outlives a restart and contains addresses of dead ranks."""
    plan = {"trainer": {"checkpoint_every": 1}, "rank": 1, "step": 3, "kill": True}
    ended = run(folder, torchrun(2, "--max-restarts=2"), **plan)
    assert ended.code == 0, ended.printed
    assert (folder / "run" / "finished").is_file()
    assert [row["step"] for row in lines(folder / "run")] == list(range(N_STEPS))
    assert f"resuming from step 3 of {N_STEPS}" in ended.printed


def test_another_number_of_ranks_does_not_resume_a_run(folder: Path):
    plan: dict[str, Any] = {"trainer": {"checkpoint_every": 1}, "rank": 1, "step": 3}
    assert run(folder, user="stop here", **plan).code == 2
    ended = run(folder, torchrun(3))
    assert "was trained with trainer.devices=2, now trainer.devices=3" in ended.printed


def test_a_signal_to_the_launcher_stops_all_after_the_same_step(folder: Path):
    process = start(folder, ours(folder), trainer={"n_steps": 100_000, "validate_every": 100_000})
    history = folder / "run" / "history.jsonl"
    try:
        deadline = time.monotonic() + 120
        while not (history.is_file() and history.read_text().count("\n") >= 2):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, printed = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, printed
    assert printed.strip().splitlines()[-1].startswith("contraflow: stopped at step")
    saved = checkpoint(folder / "run")
    assert [row["step"] for row in lines(folder / "run")] == list(range(saved["global_step"]))
    assert len(saved["replay_of_others"]) == 1


def test_ranks_out_of_time_stop_after_the_same_step_and_resume(folder: Path):
    trainer = {"n_steps": 100_000, "validate_every": 100_000, "max_time": "2s"}
    for start in (1, 2):
        ended = run(folder, trainer=trainer)
        assert ended.code == 75, ended.printed
        saved = checkpoint(folder / "run")
        step = saved["global_step"]
        last = ended.printed.strip().splitlines()[-1]
        assert last.startswith(
            f"contraflow: trainer.max_time=2s is used up at step {step} of 100000; "
        )
        others = (folder / "ranks" / "rank-1.log").read_text().strip().splitlines()
        assert len(others) == start and f"used up at step {step} of" in others[-1]
        assert [row["step"] for row in lines(folder / "run")] == list(range(step))
        assert len(saved["replay_of_others"]) == 1


def test_ranks_end_with_a_launcher_that_is_killed(folder: Path):
    process = start(folder, ours(folder), OWN_PROCESS, rank=1, step=1, wait=True)
    deadline = time.monotonic() + 120
    while not (folder / "waits").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.1)
    process.kill()
    process.wait()
    while any(map(is_of(folder), Path("/proc").glob("[0-9]*"))):
        assert time.monotonic() < deadline, "a rank outlived its launcher"
        time.sleep(0.2)


def is_of(folder: Path) -> Any:
    def is_rank(process: Path) -> bool:
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            return False
        return OWN_PROCESS[0].encode() in words and str(folder).encode() in words

    return is_rank


def test_one_number_of_the_environment_is_missing(folder: Path):
    """RANK and WORLD_SIZE without an address are refused at once, with the remedy."""
    process = start(folder, ["env", "RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=", sys.executable])
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the ranks cannot find each other" in printed and "start them with torchrun" in printed
