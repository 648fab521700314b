"""Runs of several learners with actors by the command itself, on models that load in a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from support.actor_runs import config_of, prepare
from support.processes import child_environment

_OF_THE_COMMAND = ("name", "run_dir", "exchange", "objective", "oracle", "optimizer")


def prepare_command(folder: Path) -> Path:
    """Save tiny models, facts, and an experiment `tiny` that names them."""
    prepare(folder)
    settings: dict[str, Any] = asdict(config_of(folder, {}))
    for key in _OF_THE_COMMAND:
        del settings[key]
    for key in ("store", "url"):
        del settings["replay"][key]
    del settings["trainer"]["devices"]
    experiment = folder / "configs" / "experiment" / "tiny.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text("# @package _global_\n" + json.dumps(settings, indent=1))
    return folder


@contextmanager
def command(folder: Path, log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `contraflow train` with two learners beside the block; later words win."""
    line = [sys.executable, "-m", "contraflow.cli", "train", "experiment=tiny", "name=run"]
    line += [f"run_dir={folder / 'run'}", "exchange=actors", "exchange.actors=2"]
    line += ["exchange.timeout_s=900", "trainer.devices=2", "replay=embedded", *words]
    with log.open("ab") as output:
        run = subprocess.Popen(
            [*line, f"--config-dir={folder / 'configs'}"],
            env={**os.environ, **child_environment(), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield run
    finally:
        run.kill()  # its ranks end with it
        run.wait()


def rank_of(run: subprocess.Popen[bytes], rank: int) -> psutil.Process:
    """Return the process of a rank of a run that was started so."""
    (found,) = (
        process
        for process in psutil.Process(run.pid).children()
        if process.environ().get("RANK") == str(rank)
    )
    return found
