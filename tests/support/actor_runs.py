"""Whole runs of `exchange=actors` with real Ray and models small enough to load in a second.

`main` trains as the command line does, in a folder, with a JSON object of settings of `exchange`,
`trainer`, `replay` and `objective`, which may also shorten the time after which the learner takes
Ray's head for dead (`head_patience_s`).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from contraflow.actors import head
from contraflow.actors.ledger import Ledger
from contraflow.actors.messages import Collected
from contraflow.replay.base import ReplayStore
from contraflow.replay.codec import content_id
from contraflow.replay.embedded import EmbeddedReplay, running_server
from contraflow.replay.existing import recorded_namespace
from contraflow.replay.redis import RedisReplay
from contraflow.settings import (
    Config,
    ExchangeConfig,
    JudgeConfig,
    ModelConfig,
    ObjectiveConfig,
    ReplayConfig,
)
from support.forked import Child, ForkServer
from support.judges import save_judge
from support.models import save_tiny_model
from support.runs import tiny_config, write_tiny_facts

REPLAY_URL = "CONTRAFLOW_REPLAY_URL"
RECEIVED = "received.txt"  # the questions that actors have reported
PATIENCE_S = 480.0  # every actor imports torch, on a machine that may be busy
Process = Child | subprocess.Popen[bytes]


def prepare(folder: Path) -> Path:
    """Save a tiny sampler, a tiny judge and facts."""
    save_tiny_model("llama", folder / "model")
    save_judge("bert", folder / "judge", ("entailment", "neutral", "contradiction"))
    write_tiny_facts(folder / "facts.jsonl")
    return folder


def config_of(folder: Path, changes: dict[str, Any]) -> Config:
    """Return a run with actors; replay keeps everything."""
    url = os.environ.get(REPLAY_URL)  # not in a command line, where others could read it
    store = "embedded" if url is None else "redis"
    keep_all = ReplayConfig(
        store=store,
        capacity_per_fact=5000,
        near_duplicate=0.0,
        url=url,
        **changes.get("replay", {}),
    )
    defaults = {"kind": "actors", "actors": 2, "timeout_s": PATIENCE_S}
    config = tiny_config(
        folder,
        model=ModelConfig(name=str(folder / "model"), device="cpu"),
        judge=JudgeConfig(name=str(folder / "judge")),
        replay=keep_all,
        objective=ObjectiveConfig(**changes.get("objective", {})),
        exchange=ExchangeConfig(**defaults | changes.get("exchange", {})),
    )
    return replace(config, trainer=replace(config.trainer, **changes.get("trainer", {})))


def start(fork_server: ForkServer, folder: Path, log: Path, **changes: Any) -> Child:
    """Start a run in a process of its own."""
    return fork_server.start("support.actor_runs:main", str(folder), json.dumps(changes), log=log)


def descendants(pid: int, *names: str) -> list[psutil.Process]:
    """Return the processes that one has started, directly or not, whose name begins so."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name().startswith(names) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def actors_of(run: Process) -> list[psutil.Process]:
    """Return the processes of a run's actors."""
    return descendants(run.pid, "ray::RayActor", "ray::actor-")


def n_steps_of(folder: Path) -> int:
    """Return how many steps a run has logged."""
    history = folder / "run" / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.is_file() else 0


def wait_for_steps(
    run: Process, folder: Path, n: int, log: Path, patience_s: float = PATIENCE_S
) -> None:
    """Wait until a run has logged n steps. Fails where it ends before."""
    deadline = time.monotonic() + patience_s
    while n_steps_of(folder) < n:
        assert run.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.05)


def received(folder: Path) -> set[str]:
    """Return fact and content id of every question that an actor has reported."""
    return set((folder / RECEIVED).read_text().split("\n")) - {""}


def stored(folder: Path) -> set[str]:
    """Return fact and content id of every question in a run's replay, which has ended."""
    with EmbeddedReplay(_namespace(folder), ReplayConfig(), folder / "run") as replay:
        return _names(replay)


def stored_now(folder: Path) -> set[str]:
    """Return the same of a run that goes on; nothing while its server is away."""
    url = running_server(folder / "run")
    return set() if url is None else stored_at(url, folder)


def stored_at(url: str, folder: Path) -> set[str]:
    """Return the same of a run whose replay is a server of its own."""
    with RedisReplay(_namespace(folder), ReplayConfig(), url) as replay:
        return _names(replay)


def _namespace(folder: Path) -> str:
    namespace = recorded_namespace(folder / "run")
    assert namespace is not None
    return namespace


def _names(replay: ReplayStore) -> set[str]:
    return {f"{e.scored.fact_key} {content_id(e.scored)}" for e in replay.entries()}


def _record(folder: Path) -> None:
    """Let this process write down what actors report."""
    original = Ledger.receive

    def receive(self: Ledger, collected: Collected) -> None:
        with (folder / RECEIVED).open("a") as file:
            for scored in collected.batch.scored:
                file.write(f"{scored.fact_key} {content_id(scored)}\n")
        original(self, collected)

    Ledger.receive = receive  # type: ignore[method-assign]


def main(words: list[str]) -> int:
    from contraflow.cli.failures import report_failure
    from contraflow.training import job

    warnings.simplefilter("ignore")
    folder = Path(words[0])
    job.write_report = lambda folder: folder / "report.html"
    job.print_summary = lambda *_: None
    _record(folder)
    changes = json.loads(words[1])
    head.PATIENCE_S = changes.get("head_patience_s", head.PATIENCE_S)
    head.EVERY_S = min(head.EVERY_S, head.PATIENCE_S / 4)
    try:
        job.train(config_of(folder, changes))
    except BaseException as error:
        return report_failure(error)
    return 0
