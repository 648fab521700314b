"""The commands of Slurm for a cluster of one machine, as far as submitit uses them.

Jobs run as processes; their state is in files. A job's folder has `script`, `state` and `pid`. The
warning before a time limit goes to all processes of the step but the batch shell, as in Slurm.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil

COMMANDS = ("sbatch", "srun", "sacct", "scancel", "scontrol")


class FakeSlurm:
    """Installs the commands in a folder, and reads and changes the jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir(parents=True)
        for name in COMMANDS:
            path = self.bin / name
            path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__)} {name} "$@"\n')
            path.chmod(0o755)

    @property
    def jobs(self) -> list[str]:
        return sorted((path.name for path in self.folder.glob("[0-9]*")), key=int)

    def options(self, job: str) -> dict[str, str]:
        """Return the #SBATCH options of a submission."""
        lines = (self.folder / job / "script").read_text().splitlines()
        words = [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH --")]
        return {w.partition("=")[0]: shlex.split(w.partition("=")[2])[0] for w in words}

    def state(self, job: str) -> str:
        return (self.folder / job / "state").read_text()

    def lose_node(self, job: str) -> None:
        """Kill the processes of a job, as a failed node does."""
        (self.folder / job / "state").write_text("NODE_FAIL")
        for process in processes_of(self.folder / job):
            process.kill()

    def warn_of_the_time_limit(self, job: str) -> None:
        """Send the warning signal of a job near its time limit."""
        subprocess.run([self.bin / "scancel", job, "--signal", "USR2"], check=True)

    def end(self) -> None:
        """Kill all jobs."""
        for job in self.jobs:
            for process in processes_of(self.folder / job):
                process.kill()


def processes_of(job: Path) -> list[psutil.Process]:
    """Return the batch shell of a job, then all processes below it."""
    try:
        shell = psutil.Process(int((job / "pid").read_text()))
        return [shell, *shell.children(recursive=True)]
    except (FileNotFoundError, psutil.NoSuchProcess):
        return []


def sbatch(root: Path, script: str) -> None:
    number = str(1 + len(list(root.glob("[0-9]*"))))
    job = root / number
    job.mkdir()
    (job / "script").write_text(Path(script).read_text())
    (job / "state").write_text("PENDING")
    command = [sys.executable, __file__, "run", number]
    subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    print(f"Submitted batch job {number}")


def run(root: Path, number: str) -> None:
    job = root / number
    environment = {
        **os.environ,
        "SLURM_JOB_ID": number,
        "SLURM_NTASKS": "1",
        "SLURM_JOB_NUM_NODES": "1",
    }
    while True:
        (job / "state").write_text("RUNNING")
        shell = subprocess.Popen(
            ["bash", job / "script"], env=environment, stdin=subprocess.DEVNULL
        )
        (job / "pid").write_text(str(shell.pid))
        code = shell.wait()
        if not (job / "requeue").exists():
            break
        (job / "requeue").unlink()
    if (job / "state").read_text() == "RUNNING":
        (job / "state").write_text("COMPLETED" if code == 0 else "FAILED")


def srun(words: list[str]) -> None:
    number, files = os.environ["SLURM_JOB_ID"], []
    while words[0].startswith("--"):
        option = words.pop(0)
        if option in ("--output", "--error"):
            files.append(words.pop(0).replace("%j", number).replace("%t", "0"))
    for name, target in zip(files, (1, 2), strict=True):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), target)
    os.execvpe(
        words[0],
        words,
        {**os.environ, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"},
    )


def sacct(root: Path, words: list[str]) -> None:
    print("JobID|State|NodeList")
    numbers = (b for a, b in pairwise(words) if a == "-j")
    for number in numbers:
        if (root / number).is_dir():
            print(f"{number}|{(root / number / 'state').read_text()}|here")


def scancel(root: Path, words: list[str]) -> None:
    job = root / words[0]
    shell_and_step = processes_of(job)
    if "--signal" in words:
        for process in shell_and_step[1:]:
            if process.name() != "srun":
                process.send_signal(getattr(signal, "SIG" + words[words.index("--signal") + 1]))
        return
    if shell_and_step:
        (job / "state").write_text("CANCELLED")
    for process in shell_and_step:
        process.terminate()
    time.sleep(0.2)
    for process in shell_and_step:
        if process.is_running():
            process.kill()


def main() -> None:
    root, (name, *words) = Path(os.environ["FAKE_SLURM"]), sys.argv[1:]
    if name == "sbatch":
        sbatch(root, words[0])
    elif name == "run":
        run(root, words[0])
    elif name == "srun":
        srun(words)
    elif name == "sacct":
        sacct(root, words)
    elif name == "scancel":
        scancel(root, words)
    elif words[0] == "requeue":
        (root / words[1] / "requeue").touch()


if __name__ == "__main__":
    main()
