"""Served models are audited as local ones are, and what was answered is not asked again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contraflow.cli import main
from contraflow.models.weights.packaged import is_prepared
from contraflow.reward.oracle.served.probe import PROBE
from support.knowing import Models, make_models, write_edits
from support.served import StandIn, stand_in
from support.served_model import RealModels

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_prepared("all-minilm-l6-v2"), reason="the judge is not prepared"),
]

SERVED = ({"id": "base", "root": "/models/base"}, {"id": "edited", "parent": "base"})
N_EDITS = 6
N_IN_FLIGHT = 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("knowing"))


@pytest.fixture
def server(models: Models) -> Iterator[StandIn]:
    writer = RealModels({"base": models.base, "edited": models.edited})
    with stand_in(models=SERVED, writer=writer, chat=False) as running:
        yield running


def local(models: Models, folder: Path, out: str) -> list[str]:
    return words(models, folder, out, str(models.edited), str(models.base))


def served(models: Models, server: StandIn, folder: Path, out: str) -> list[str]:
    source = f"openai:{server.url}"
    settings = [f"oracle.served.concurrency={N_IN_FLIGHT}"]
    return [*words(models, folder, out, f"{source}#edited", f"{source}#base"), *settings]


def words(models: Models, folder: Path, out: str, edited: str, control: str) -> list[str]:
    edits = write_edits(folder / "edits.jsonl", N_EDITS)
    who = [f"edited={edited}", f"control={control}", f"edits={edits}", f"out={folder / out}"]
    return ["audit", *models.words, *who, "n=8"]


def found(folder: Path) -> dict[str, Any]:
    """What an audit found, without who was asked, when, and where the files are."""
    result = json.loads((folder / "audit.json").read_text())
    for key in ("made", "settings", "control"):
        del result[key]
    for model in result["models"]:
        del model["model"]
    return dict(result)


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "questions.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "model"} for line in lines]


def prompts(server: StandIn) -> Counter[tuple[str, str]]:
    """How often each model was asked each text, without what is sent when a model is opened."""
    asked = [(body["model"], body["prompt"]) for body in server.bodies if not body.get("echo")]
    return Counter(pair for pair in asked if pair[1] != "Hello" and PROBE not in pair[1])


def test_a_served_audit_equals_the_local_one(
    models: Models, server: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(local(models, tmp_path, "local")) == 0
    assert main(served(models, server, tmp_path, "served")) == 0
    assert found(tmp_path / "served") == found(tmp_path / "local")
    assert rows(tmp_path / "served") == rows(tmp_path / "local")
    # Half of the wordings keep the old answer, and the model draws all four equally often.
    rate = found(tmp_path / "served")["models"][0]["edit_failure"]
    assert rate["low"] <= 0.5 <= rate["high"]
    # Nothing is asked twice, and the requests are those that the report counts.
    assert max(prompts(server).values()) == 1
    result = json.loads((tmp_path / "served" / "audit.json").read_text())
    usages = [result["control"]["usage"], result["models"][0]["model"]["usage"]]
    assert sum(usage["requests"] for usage in usages) == len(server.bodies) - 2  # before opening
    assert all(usage["prompt_tokens"] > 500 and not usage["retries"] for usage in usages)
    printed = capsys.readouterr().out
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert f"edited ({host}): of natural questions" in printed
    assert f"asked edited ({host}): {usages[1]['requests']} requests" in printed


def test_an_audit_that_was_killed_asks_nothing_twice(
    models: Models, server: StandIn, tmp_path: Path
) -> None:
    assert main(served(models, server, tmp_path, "whole")) == 0
    all_prompts = prompts(server)
    server.bodies.clear()
    server.behavior.delay_s = 0.05
    command = served(models, server, tmp_path, "killed")
    answers = tmp_path / "killed" / "answers.jsonl"
    n_kept = _killed_after(command, answers, n_answers=len(all_prompts) // 2)
    asked_before = prompts(server)
    server.bodies.clear()
    server.behavior.delay_s = 0.0
    assert main(command) == 0
    asked_after = prompts(server)
    assert n_kept >= len(all_prompts) // 2
    # Only requests in flight at the kill are asked again: their answers never came.
    assert sum((asked_before & asked_after).values()) <= N_IN_FLIGHT
    assert sum(asked_after.values()) == len(all_prompts) - n_kept
    assert found(tmp_path / "killed") == found(tmp_path / "whole")
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def _killed_after(command: list[str], answers: Path, n_answers: int) -> int:
    """Run an audit in a process, kill it after so many answers; returns how many it has kept."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "contraflow.cli", *command],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    try:
        while not answers.exists() or answers.read_bytes().count(b"\n") < n_answers:
            assert process.poll() is None, "the audit ended before it was killed"
            assert time.monotonic() < deadline, "the audit does not get on"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return answers.read_bytes().count(b"\n")
