"""Start the ranks of one machine and see them through: all end well, or all end.

What ranks other than 0 say goes to a file each; of the one that failed first the last line is
shown. Torch is not imported here: this process only waits.
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

PEER_LOST = 76  # the exit code of a rank whose only trouble was that another had ended
STOPPED = (INTERRUPTED, OUT_OF_TIME)  # the others stop too, and take the time that they need
GRACE_S = 5.0  # how long the others may take to notice that one has ended
_POLL_S = 0.05


def launch(command: Sequence[str], n: int, logs: Path) -> int:
    """Run a command as n ranks of this machine; returns 0, or the exit code of the rank that failed
    first.

    SIGINT and SIGTERM are handed on; a second one ends all at once. ``logs`` gets a file for each
    rank but 0.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="contraflow-ranks-") as folder:
        common = _environment(Path(folder) / "rendezvous", n)
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            with _handing_on(ranks):
                ranks += [_start(command, rank, common, logs) for rank in range(n)]
                first = _wait(ranks)
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
    return 0 if first is None else _tell(first, ranks[first].returncode, logs)


def end_with_launcher() -> None:
    """In a rank: end when the launcher does, however it ends. Does nothing in a process without
    one.
    """
    launcher = os.environ.get(LAUNCHER)
    if launcher is None:
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(0.5)
        os._exit(PEER_LOST)  # its threads may hang in a collective: nothing gentler ends them

    threading.Thread(target=watch, daemon=True).start()


def log_of(logs: Path, rank: int) -> Path:
    """Where a rank other than 0 speaks to."""
    return logs / f"rank-{rank}.log"


def _environment(rendezvous: Path, n: int) -> dict[str, str]:
    threads = str(max(1, (os.cpu_count() or 1) // n))
    return {
        "OMP_NUM_THREADS": threads,  # unless the user has set it: all ranks on all cores would be slower than one
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
    """The rank that failed first, once all others had their chance to end; None where all went
    well.
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
        return 0  # they ended for one reason, and rank 0 has said it
    return next(iter(causes), None)


def _tell(rank: int, code: int, logs: Path) -> int:
    """Say why all ended, where rank 0 has not said so itself; the exit code."""
    if code < 0:
        name = signal.Signals(-code).name
        reason = "; it often means that memory ran out" if -code == signal.SIGKILL else ""
        _say(
            f"error: rank {rank} was ended by {name}{reason}; the others were stopped. Start the same command again"
        )
        return 1
    if rank == 0:
        return 1 if code == PEER_LOST else code
    path = log_of(logs, rank)
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    last = (
        lines[-1].removeprefix("contraflow: ").removeprefix("error: ")
        if lines
        else f"exit code {code}"
    )
    whose = "" if last.startswith(f"rank {rank} ") else f"rank {rank}: "
    _say(f"error: {whose}{last} (all it said is in {path})")
    return code


def _say(line: str) -> None:
    print(f"contraflow: {line}", file=sys.stderr)


@contextmanager
def _handing_on(ranks: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    asked = 0

    def hand_on(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        for rank in ranks:
            if rank.poll() is None:
                rank.send_signal(number if asked == 1 else signal.SIGKILL)

    previous = {
        number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
