"""Runs as jobs of a Slurm cluster, submitted by submitit.

All nodes must share the disk of the sweep's folder. The sweep and a job communicate through files
next to the run's log: `.stop` requests a checkpoint and the end of the run, `.exit` holds the exit
code. No signal has to pass through the scheduler, and the pickled result of submitit is not read.
Submitit queues a job again that is preempted or reaches its time limit, after a checkpoint; the
sweep restarts a lost job. In both cases `contraflow train` resumes from its last checkpoint.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contraflow.errors import UserError
from contraflow.sweep.launcher import Job, JobLost
from contraflow.system.files import write_atomically

_STOPPED = 130  # exit code of a run that stopped on request
_CHECKPOINT_S = 80  # submitit warns a job 90 seconds before the time limit
_POLL_S = 1.0
# Slurm sends its warning signal to every process of a job step. It is meant for submitit and would
# kill the run.
_IGNORING_WARNINGS = ("sh", "-c", 'trap "" USR1 USR2; exec "$@"', "sh")


@dataclass(frozen=True)
class SlurmSettings:
    """The resources of each job; None leaves the choice to the cluster."""

    partition: str | None = None
    account: str | None = None
    time: int = 240  # minutes
    gpus: int | None = None
    cpus: int | None = None
    mem: str | None = None


def check_slurm() -> None:
    """Raises: UserError without submitit or without the commands of Slurm."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError("launcher=slurm needs submitit: pip install 'contraflow[slurm]'") from None
    missing = [name for name in ("sbatch", "srun", "sacct") if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"launcher=slurm: no {missing[0]} here; start the sweep where jobs can be submitted, "
            "such as a login node of the cluster, or use launcher=local"
        )


class SlurmLauncher:
    """Submits several jobs at a time; they outlive the sweep, and the same command finds them."""

    def __init__(
        self, folder: Path, settings: SlurmSettings, at_once: int, cluster: str = "slurm"
    ) -> None:
        import submitit

        self.at_once = at_once
        self._folder = folder.absolute()
        self._executor: Any = submitit.AutoExecutor(self._folder, cluster=cluster)
        self._executor.update_parameters(
            name="contraflow",
            timeout_min=settings.time,
            gpus_per_node=settings.gpus,
            cpus_per_task=settings.cpus,
            slurm_partition=settings.partition,
            slurm_account=settings.account,
            slurm_mem=settings.mem,
            slurm_ntasks_per_node=1,  # the run starts its ranks itself (trainer.devices)
        )

    def start(self, command: Sequence[str], log: Path) -> Job:
        """Submit a job. Raises: UserError with the scheduler's message when it refuses."""
        run = TrainJob(list(command), log.absolute())
        for path in (run.stop_file, run.exit_file):
            path.unlink(missing_ok=True)
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            return _SubmittedJob(self._executor.submit(run), run)
        except (
            FailedJobError,
            FailedSubmissionError,
            subprocess.SubprocessError,
            OSError,
        ) as error:
            lines = str(error).strip().splitlines() or ["no reason given"]
            raise UserError(
                f"Slurm took no job: {lines[-1].strip()}; see slurm.partition and the like"
            ) from error

    def find(self, name: str, log: Path) -> Job | None:
        """Return the job with this Slurm job id; None without one."""
        if not name:
            return None
        job_class = self._executor._executor.job_class
        return _SubmittedJob(job_class(self._folder, name), TrainJob([], log.absolute()))


@dataclass
class TrainJob:
    """The function of a cluster job: runs the training process and stops it on request."""

    command: list[str]
    log: Path

    @property
    def stop_file(self) -> Path:
        """Requests the end of the run by its existence."""
        return self.log.with_suffix(".stop")

    @property
    def exit_file(self) -> Path:
        """Holds the exit code of the run that has ended."""
        return self.log.with_suffix(".exit")

    def __call__(self) -> int:
        self.exit_file.unlink(missing_ok=True)
        with self.log.open("ab") as file:
            self._process = subprocess.Popen(
                [*_IGNORING_WARNINGS, *self.command],
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
            )
        while self._process.poll() is None:
            if self.stop_file.exists():
                self._process.terminate()
                self._process.wait()
                break
            time.sleep(_POLL_S)
        code = int(self._process.returncode)
        write_atomically(self.exit_file, str(code).encode())
        return code

    def checkpoint(self) -> Any:
        """End the run, which writes a checkpoint, and queue it again.

        Submitit calls this when Slurm warns that the job is about to end.
        """
        from submitit.helpers import DelayedSubmission

        self._process.terminate()
        self._process.wait(_CHECKPOINT_S)
        return DelayedSubmission(TrainJob(self.command, self.log))


class _SubmittedJob:
    def __init__(self, job: Any, run: TrainJob) -> None:
        self._job = job
        self._run = run
        self.name = str(job.job_id)

    def poll(self) -> int | None:
        code = self._code()
        if code is None and self._job.done():
            code = self._code()  # may have been written since the first look
            if code is None:
                self._cancel()
                raise JobLost(str(self._job.state).lower())
        if code in (_STOPPED, -signal.SIGTERM, -signal.SIGKILL):
            self._cancel()
            raise JobLost("its run was stopped from outside")
        return code

    def _code(self) -> int | None:
        try:
            os.scandir(self._run.log.parent).close()  # refreshes the cache of a network file system
            return int(self._run.exit_file.read_text())
        except FileNotFoundError:
            return None

    def _cancel(self) -> None:
        """Cancel a lost job, which the scheduler could queue again next to its replacement."""
        self._job.cancel(check=False)

    def stop(self) -> None:
        self._run.stop_file.touch()

    def part(self) -> None:
        """Do nothing: the job goes on without the sweep."""
