"""Trials as jobs: the submission, and trials whose job is stopped, lost or left.

`support/slurm.py` stands for a cluster: it takes the submissions of submitit and runs them here.
Some jobs run in submitit's own local executor.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contraflow.cli import main
from contraflow.errors import UserError
from contraflow.sweep import attempt
from contraflow.sweep.launcher import JobLost, LocalLauncher
from contraflow.sweep.outcome import write_outcome
from contraflow.sweep.slurm import SlurmLauncher, SlurmSettings, TrainJob
from contraflow.sweep.study import run_sweep
from support.slurm import FakeSlurm
from support.sweep import METRIC, sweep_of

# In place of a run: it appends to `began`, and on SIGTERM writes a checkpoint and exits with 130.
pytestmark = pytest.mark.slow

RUN = """
import signal, sys, time
def stop(*_):
    open("checkpoint", "a").write("x"); sys.exit(130)
signal.signal(signal.SIGTERM, stop)
open("began", "a").write("x")
time.sleep(0.2 if len(open("began").read()) >= int(sys.argv[1]) else 60)
"""


def waits(until: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    started = time.monotonic()
    while not until():
        assert time.monotonic() - started < seconds, "nothing happened"
        time.sleep(0.02)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def launcher(folder: Path, at_once: int = 2, cluster: str = "slurm") -> SlurmLauncher:
    return SlurmLauncher(folder / "quality" / "jobs", SlurmSettings(), at_once, cluster)


def run_that_ends_at_start(number: int) -> list[str]:
    return [sys.executable, "-c", RUN, str(number)]


def test_the_submission_asks_for_what_was_configured(slurm: FakeSlurm, here: Path):
    settings = SlurmSettings(partition="gpu", account="lab", time=90, gpus=2, cpus=8, mem="32GB")
    SlurmLauncher(here / "jobs", settings, 1).start(["true"], here / "log")
    options = slurm.options("1")
    names = (
        "partition",
        "account",
        "time",
        "gpus-per-node",
        "cpus-per-task",
        "mem",
        "nodes",
        "ntasks-per-node",
    )
    assert [options[name] for name in names] == ["gpu", "lab", "90", "2", "8", "32GB", "1", "1"]
    SlurmLauncher(here / "jobs", SlurmSettings(), 1).start(["true"], here / "log2")
    assert {"partition", "account", "gpus-per-node", "cpus-per-task", "mem"}.isdisjoint(
        slurm.options("2")
    )


def test_what_a_user_types_reaches_the_scheduler(
    slurm: FakeSlurm, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Two jobs, one at a time."""
    monkeypatch.setattr(attempt, "train_command", lambda *_: run_that_ends_at_start(1))
    monkeypatch.setattr(attempt, "result_of", lambda *_: 0.5)
    words = ["partition=gpu", "account=lab", "time=90", "gpus=2", "cpus=8", "mem=32GB"]
    ours = ["launcher=slurm", "jobs=1", *(f"slurm.{word}" for word in words)]
    assert main(["sweep", "study=s", "vary.seed=1,2", *ours]) == 0
    assert capfd.readouterr().out.count("| 0.5000 | complete |") == 2
    assert slurm.jobs == ["1", "2"]
    options = slurm.options("2")
    assert (options["partition"], options["account"], options["time"], options["mem"]) == (
        "gpu",
        "lab",
        "90",
        "32GB",
    )
    assert (options["gpus-per-node"], options["cpus-per-task"]) == ("2", "8")
    assert (here / "sweeps" / "s" / "results.csv").is_file()


@pytest.mark.usefixtures("slurm")
def test_a_job_has_its_runs_exit_code(here: Path):
    jobs = [
        launcher(here).start(["sh", "-c", f"echo text; exit {n}"], here / f"{n}.log")
        for n in (0, 2)
    ]
    waits(lambda: all(job.poll() is not None for job in jobs))
    assert [job.poll() for job in jobs] == [0, 2]
    assert (here / "2.log").read_text() == "text\n"


@pytest.mark.usefixtures("slurm")
def test_a_job_that_is_asked_to_stop_lets_its_run_checkpoint(here: Path):
    job = launcher(here).start(run_that_ends_at_start(9), here / "log")
    waits((here / "began").exists)
    assert job.poll() is None
    job.stop()
    with pytest.raises(JobLost, match="stopped"):
        waits(lambda: job.poll() is not None)
    assert (here / "checkpoint").read_text() == "x"


def test_a_job_near_its_time_limit_is_requeued_and_resumes(slurm: FakeSlurm, here: Path):
    """The warning reaches every process of the job and must not kill the run.

    The sweep sees one job throughout.
    """
    job = launcher(here).start(run_that_ends_at_start(2), here / "log")
    waits((here / "began").exists)
    slurm.warn_of_the_time_limit("1")
    waits(lambda: job.poll() is not None)
    assert job.poll() == 0
    assert ((here / "checkpoint").read_text(), (here / "began").read_text()) == ("x", "xx")
    assert slurm.jobs == ["1"]


@pytest.mark.usefixtures("tiny_trials")
def test_a_lost_job_is_started_again_and_not_for_ever(
    slurm: FakeSlurm, here: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each node fails as soon as its run has begun."""
    monkeypatch.setattr(attempt, "train_command", lambda *_: run_that_ends_at_start(99))
    printed: list[str] = []
    lost: list[str] = []

    class Losing(SlurmLauncher):
        def start(self, command, log):  # type: ignore[no-untyped-def]
            job = super().start(command, log)
            waits(
                lambda: (here / "began").exists() and len((here / "began").read_text()) > len(lost)
            )
            lost.append(job.name)
            slurm.lose_node(job.name)
            return job

    losing = Losing(here / "quality" / "jobs", SlurmSettings(), 1)
    (trial,) = run_sweep(sweep_of(here, rates=("0.1",), n=1), losing, printed.append)
    assert (trial.state.name, trial.value, lost) == ("FAIL", None, ["1", "2", "3"])
    assert [line.strip() for line in printed[1:]] == [
        "trial 1: job 1 was lost (node_fail); it is started again",
        "trial 1: job 2 was lost (node_fail); it is started again",
        "trial 1: failed: job 3 was lost (node_fail), the last of 3",
    ]


@pytest.mark.usefixtures("tiny_trials")
def test_a_sweep_that_ended_finds_its_jobs_again(
    slurm: FakeSlurm, here: Path, monkeypatch: pytest.MonkeyPatch
):
    """It starts no second job for a run folder, and no other launcher may continue the study."""
    monkeypatch.setattr(attempt, "train_command", lambda *_: run_that_ends_at_start(1))
    monkeypatch.setattr(attempt, "result_of", lambda *_: 0.5)
    sweep = sweep_of(here, rates=("0.1",), n=1)

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(attempt.Attempt, "has_ended", killed)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(sweep, launcher(here), print)
    with pytest.raises(UserError, match="has job 1 on a cluster; go on with launcher=slurm"):
        run_sweep(sweep, LocalLauncher(), print)
    printed: list[str] = []
    (trial,) = run_sweep(sweep, launcher(here), printed.append)
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.5)
    assert printed[0].endswith("optimizer.lr=0.1, still job 1")
    assert slurm.jobs == ["1"] and (here / "began").read_text() == "x"


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_trials", "fork_server")
@pytest.mark.parametrize("cluster", ["slurm", "local"])
def test_a_sweep_of_jobs_has_the_same_table_and_picture(
    slurm: FakeSlurm, here: Path, cluster: str, capfd: pytest.CaptureFixture[str]
):
    """Real training, three jobs at once. `local` is the executor of submitit."""
    printed: list[str] = []
    sweep = sweep_of(here, "steps=6", "fail=1", rates=("0.001", "0.01", "0.5"), n=3)
    trials = run_sweep(sweep, launcher(here, 3, cluster), printed.append)
    table = write_outcome(here / "quality", trials, METRIC)
    assert (table.count("| complete |"), table.count("| fail |")) == (2, 1), printed
    assert any("failed: contraflow: error: no such thing" in line for line in printed)
    rows = list(csv.DictReader((here / "quality" / "results.csv").open()))
    assert [row["state"] for row in rows] == ["complete", "complete", "fail"]
    assert all((here / "quality" / row["run"] / "finished").is_file() for row in rows[:2])
    assert (here / "quality" / "results.svg").read_text().count("<circle") == 2
    assert cluster == "local" or slurm.jobs == ["1", "2", "3"]
    capfd.readouterr()


def test_a_refusal_of_the_cluster_is_reported(slurm: FakeSlurm, here: Path):
    (slurm.bin / "sbatch").write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: gqu' >&2\nexit 1\n"
    )
    with pytest.raises(UserError, match=r"^Slurm took no job: .*invalid partition specified: gqu"):
        launcher(here).start(["true"], here / "log")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["launcher=slurm"],
            "launcher=slurm: no sbatch here; start the sweep where jobs can be submitted",
        ),
        (["slurm.gpus=1"], "slurm.gpus= is for launcher=slurm"),
        (["jobs=2"], "jobs= is for launcher=slurm"),
        (["launcher=slurm", "slurm.mem=much"], "slurm.mem=much: must be a size such as 32GB"),
        (["launcher=slurm", "slurm.time=0"], "slurm.time=0: must be at least 1"),
        (["launcher=slurm", "slurm.partion=x"], "slurm.partion"),
        (["launcher=pbs"], "launcher=pbs: must be one of local, slurm"),
    ],
)
def test_mistakes_are_reported_before_anything_is_made(
    here: Path, capfd: pytest.CaptureFixture[str], words: list[str], message: str
):
    assert main(["sweep", "study=s", "vary.seed=1,2", *words]) == 2
    printed = capfd.readouterr().err.strip().splitlines()
    assert len(printed) == 1 and message in printed[0]
    assert not (here / "sweeps").exists()


@pytest.mark.usefixtures("here")
def test_a_missing_package_is_reported_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(["sweep", "study=s", "vary.seed=1,2", "launcher=slurm"]) == 2
    printed = capfd.readouterr().err.strip()
    assert (
        printed
        == "contraflow: error: launcher=slurm needs submitit: pip install 'contraflow[slurm]'"
    )


@pytest.mark.usefixtures("slurm")
def test_an_old_word_to_stop_or_exit_code_does_not_end_a_new_job(here: Path):
    run = TrainJob([], here / "run.log")
    run.stop_file.touch()
    run.exit_file.write_text("2")
    job = launcher(here).start(run_that_ends_at_start(1), here / "run.log")
    waits(lambda: job.poll() is not None)
    assert job.poll() == 0 and not run.stop_file.exists()
