"""Runs as jobs of a Slurm cluster, submitted by submitit. The sweep's folder must be on a disk that
all nodes share.

The sweep and a job talk by files beside the run's log: `.stop` asks the run to write a checkpoint
and end, `.exit` has its exit code. A signal would have to find its way through the scheduler, and
the pickled result that submitit keeps is never read. A job that nears its time limit, or is
preempted, checkpoints and is queued again by submitit; the sweep starts a lost one anew. Either way
`contraflow train` goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contraflow.errors import UserError
from contraflow.sweep.launcher import Job, JobLost
from contraflow.system.files import write_atomically

_STOPPED = 130  # the exit code of a run that was asked to stop
_CHECKPOINT_S = 80  # submitit gives 90 seconds before the time limit
_LOOK_S = 1.0
# Slurm's warning goes to every process of a job's step: it is meant for submitit, and would kill
# the run.
_IGNORING_WARNINGS = ("sh", "-c", 'trap "" USR1 USR2; exec "$@"', "sh")


@dataclass(frozen=True)
class SlurmSettings:
    """What each job asks for; None leaves it to the cluster."""

    partition: str | None = None
    account: str | None = None
    time: int = 240  # minutes
    gpus: int | None = None
    cpus: int | None = None
    mem: str | None = None


def check_slurm() -> None:
    """Raises: UserError without submitit, or where no jobs can be submitted."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError("launcher=slurm needs submitit: pip install 'contraflow[slurm]'") from None
    missing = [name for name in ("sbatch", "srun", "sacct") if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"launcher=slurm: no {missing[0]} here; start the sweep where jobs can be submitted, such as a login "
            "node of the cluster, or use launcher=local"
        )


class SlurmLauncher:
    """Several jobs at once. They go on where the sweep ends, and are found again by the same
    command.
    """

    def __init__(
        self, folder: Path, settings: SlurmSettings, at_once: int, cluster: str = "slurm"
    ) -> None:
        import submitit

        self.at_once = at_once
        self._folder = folder.absolute()
        self._executor: Any = submitit.AutoExecutor(self._folder, cluster=cluster)
        s = asdict(settings)
        self._executor.update_parameters(
            name="contraflow",
            timeout_min=s["time"],
            gpus_per_node=s["gpus"],
            cpus_per_task=s["cpus"],
            slurm_partition=s["partition"],
            slurm_account=s["account"],
            slurm_mem=s["mem"],
            slurm_ntasks_per_node=1,  # ranks on a node's GPUs are ours to start (trainer.devices)
        )

    def start(self, command: Sequence[str], log: Path) -> Job:
        """Submit. Raises: UserError with the scheduler's words when it refuses."""
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
            lines = [line for line in str(error).splitlines() if line.strip()] or [
                "no reason given"
            ]
            raise UserError(
                f"Slurm took no job: {lines[-1].strip()}; see slurm.partition and the like"
            ) from error

    def find(self, name: str, log: Path) -> Job | None:
        """By its number."""
        if not name:
            return None
        job_class = self._executor._executor.job_class
        return _SubmittedJob(job_class(self._folder, name), TrainJob([], log.absolute()))


@dataclass
class TrainJob:
    """What runs on the cluster: the training process, watched for the word to stop."""

    command: list[str]
    log: Path

    @property
    def stop_file(self) -> Path:
        return self.log.with_suffix(".stop")

    @property
    def exit_file(self) -> Path:
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
            time.sleep(_LOOK_S)
        code = int(self._process.returncode)
        write_atomically(self.exit_file, str(code).encode())
        return code

    def checkpoint(self) -> Any:
        """For submitit, shortly before the job is ended: the run writes its checkpoint, and is
        queued again.
        """
        from submitit.helpers import DelayedSubmission

        self._process.terminate()
        self._process.wait(_CHECKPOINT_S)
        return DelayedSubmission(TrainJob(self.command, self.log))


class _SubmittedJob:
    def __init__(self, job: Any, run: TrainJob) -> None:
        self._job, self._run = job, run
        self.name = str(job.job_id)

    def poll(self) -> int | None:
        code = self._code()
        if code is None and self._job.done():
            code = self._code()  # it may have been written in between
            if code is None:
                self._end()
                raise JobLost(str(self._job.state).lower())
        if code in (_STOPPED, -signal.SIGTERM, -signal.SIGKILL):
            self._end()
            raise JobLost("its run was stopped from outside")
        return code

    def _code(self) -> int | None:
        try:
            os.scandir(self._run.log.parent).close()  # makes a network file system look again
            return int(self._run.exit_file.read_text())
        except FileNotFoundError:
            return None

    def _end(self) -> None:
        """So that a scheduler which queues a preempted job again does not run it beside the one
        that replaces it.
        """
        self._job.cancel(check=False)

    def stop(self) -> None:
        self._run.stop_file.touch()

    def part(self) -> None:
        """It goes on."""
