"""Runs a plan with several processes at a time, and writes results as they come."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from contraflow.system.files import write_atomically
from studies.fit.plan import PROGRAMS, PlannedRun
from studies.fit.results import Results, row_of

POLL_S = 0.5
GRACE_S = 45.0  # to write a checkpoint after a request to stop
MIN_START_S = 45.0  # with less time left no run is started


@dataclass(frozen=True)
class Place:
    """Where and how runs are made."""

    out: Path
    runs: Path  # the run folders, with checkpoints: some 100 MB each
    device: str
    workers: int
    deadline: float  # a value of time.monotonic

    def folder(self, run: PlannedRun) -> Path:
        """The run folder."""
        return self.runs / run.name

    def commands(self, run: PlannedRun) -> list[list[str]]:
        """What makes the run: its program, then a measurement at the other temperatures."""
        folder = self.folder(run)
        overrides = [*run.overrides, f"seed={run.seed}", f"model.device={self.device}"]
        overrides += [f"name={run.name}", f"run_dir={folder}"]
        python = [sys.executable, "-m"]
        commands = [[*python, *PROGRAMS[run.program], *overrides, *run.arguments]]
        if run.temperatures:
            values = [str(value) for value in run.temperatures]
            module = "studies.fit.temperatures"
            commands.append([*python, module, str(folder), "--device", self.device, *values])
        return commands


@dataclass
class Worker:
    """A run in progress: the commands that are left, and the process of the current one."""

    run: PlannedRun
    commands: deque[list[str]]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        """Start the next command when the last one succeeded; true when nothing is left."""
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return False
            if code != 0:
                return True
        if not self.commands:
            return True
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                self.commands.popleft(),
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
            )
        return False

    @property
    def code(self) -> int | None:
        """The exit code of the last command."""
        return None if self.process is None else self.process.returncode

    def stop(self) -> None:
        """Ask the run for a checkpoint and the end."""
        self.commands.clear()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End the process, whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def run_plan(runs: list[PlannedRun], place: Place) -> Results:
    """Make all runs that are not done, and return the results of all that have any.

    At the deadline runs in progress are asked to stop; their rows say so.
    """
    results = Results.read(place.out)
    waiting = deque(run for run in runs if not results.is_done(run))
    working: list[Worker] = []
    try:
        while waiting or working:
            for worker in [worker for worker in working if worker.is_over()]:
                working.remove(worker)
                _record(worker, place, results)
            left = place.deadline - time.monotonic()
            if left <= 0:
                break
            if left < MIN_START_S:
                waiting.clear()
            while waiting and len(working) < place.workers:
                working.append(_start(waiting.popleft(), place))
            time.sleep(POLL_S)
    finally:
        _end(working, place, results)
    return results


def _start(run: PlannedRun, place: Place) -> Worker:
    folder = place.folder(run)
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"start {run.name}: {' '.join((*run.overrides, *run.arguments))}", flush=True)
    log = folder.with_name(f"{run.name}.log")
    worker = Worker(run, deque(place.commands(run)), log)
    worker.is_over()
    return worker


def _end(working: list[Worker], place: Place, results: Results) -> None:
    for worker in working:
        worker.stop()
    until = time.monotonic() + GRACE_S
    while time.monotonic() < until and not all(worker.is_over() for worker in working):
        time.sleep(POLL_S)
    for worker in working:
        worker.kill()
        _record(worker, place, results)


def _record(worker: Worker, place: Place, results: Results) -> None:
    row = row_of(worker.run, place.folder(worker.run), worker.log, worker.code)
    row.seconds = time.monotonic() - worker.started
    results.put(row)
    write_atomically(place.out / "results.json", results.as_json())
    print(f"end   {worker.run.name}: {row.said()}", flush=True)
