"""Start the ranks of one machine and wait for them: all succeed, or all are ended.

Ranks other than 0 write to a log file each; the last line of the one that failed first is printed.
Torch is not imported here: this process only waits.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from contraflow.distributed.rank_info import LAUNCHER, RENDEZVOUS
from contraflow.errors import INTERRUPTED, OUT_OF_TIME
from contraflow.system.stop_signals import is_urgent, stop_signals

# Exit code of a rank whose only trouble was that another rank had ended.
PEER_LOST = 76
# Exit codes of a run that was asked to stop: the others stop too, and take the time they need.
STOPPED = (INTERRUPTED, OUT_OF_TIME)
# How long the other ranks may take to notice that one has failed, and to end what they started:
# rank 0 ends Ray and its actors, and the replay server.
GRACE_S = 15.0
_POLL_S = 0.05


def launch(command: Sequence[str], n: int, logs: Path) -> int:
    """Run a command as n ranks of this machine.

    SIGINT, SIGTERM and SIGHUP are forwarded; a second signal kills all ranks. ``logs`` gets one
    file for each rank but 0. Returns 0, or the exit code of the rank that failed first.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="contraflow-ranks-") as folder:
        common = _environment(Path(folder) / "rendezvous", n)
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            with _forwarding_signals(ranks):
                ranks += [_start(command, rank, common, logs) for rank in range(n)]
                first = _wait(ranks)
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
    return 0 if first is None else _report(first, ranks[first].returncode, logs)


def end_with_launcher() -> None:
    """In a rank, exit when the launcher exits, however it does. No-op without a launcher."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None:
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(0.5)
        # Threads may hang in a collective, which nothing gentler can end.
        os._exit(PEER_LOST)

    threading.Thread(target=watch, daemon=True).start()


def log_of(logs: Path, rank: int) -> Path:
    """The log file of a rank other than 0."""
    return logs / f"rank-{rank}.log"


def _environment(rendezvous: Path, n: int) -> dict[str, str]:
    threads = str(max(1, (os.cpu_count() or 1) // n))
    return {
        # A default that the user's environment overrides: ranks that share cores slow each other.
        "OMP_NUM_THREADS": threads,
        **os.environ,
        RENDEZVOUS: str(rendezvous),
        LAUNCHER: str(os.getpid()),
        "WORLD_SIZE": str(n),
        "LOCAL_WORLD_SIZE": str(n),
    }


def _start(
    command: Sequence[str], rank: int, common: Mapping[str, str], logs: Path
) -> subprocess.Popen[bytes]:
    environment = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    # A group of its own, so that Ctrl-C reaches each rank once, through us.
    options: dict[str, Any] = {"env": environment, "stdin": subprocess.DEVNULL, "process_group": 0}
    if rank == 0:
        return subprocess.Popen(command, **options)
    with log_of(logs, rank).open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, **options)


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all ranks to end.

    Returns the rank that failed first, or None where all succeeded. After a failure the others have
    `GRACE_S` seconds to end by themselves.
    """
    ended: list[int] = []
    deadline: float | None = None
    while len(ended) < len(ranks) and (deadline is None or time.monotonic() < deadline):
        for number, rank in enumerate(ranks):
            if number not in ended and rank.poll() is not None:
                ended.append(number)
                if rank.returncode not in (0, *STOPPED) and deadline is None:
                    deadline = time.monotonic() + GRACE_S
        time.sleep(_POLL_S)
    failed = [number for number in ended if ranks[number].returncode != 0]
    causes = [number for number in failed if ranks[number].returncode != PEER_LOST] or failed
    if 0 in causes and ranks[0].returncode == ranks[causes[0]].returncode:
        return 0  # all ended for one reason, and rank 0 has printed it
    return next(iter(causes), None)


def _report(rank: int, code: int, logs: Path) -> int:
    """Print why the ranks ended, unless rank 0 has done so; return the exit code."""
    if code < 0:
        name = signal.Signals(-code).name
        reason = "; it often means that memory ran out" if -code == signal.SIGKILL else ""
        _print_error(
            f"rank {rank} was ended by {name}{reason}; the others were stopped. "
            "Start the same command again"
        )
        return 1
    if rank == 0:
        return 1 if code == PEER_LOST else code
    path = log_of(logs, rank)
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {code}"
    last = last.removeprefix("contraflow: ").removeprefix("error: ")
    whose = "" if last.startswith(f"rank {rank} ") else f"rank {rank}: "
    _print_error(f"{whose}{last} (all it said is in {path})")
    return code


def _print_error(message: str) -> None:
    print(f"contraflow: error: {message}", file=sys.stderr)


@contextmanager
def _forwarding_signals(ranks: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    n_signals = 0

    def forward(number: int, _frame: FrameType | None) -> None:
        nonlocal n_signals
        n_signals += 1
        at_once = is_urgent(number, is_repeated=n_signals > 1)
        for rank in ranks:
            if rank.poll() is None:
                rank.send_signal(signal.SIGKILL if at_once else number)

    previous = {number: signal.signal(number, forward) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
