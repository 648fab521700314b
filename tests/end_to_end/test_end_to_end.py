"""The whole job on the packaged models, as a user types it.

Training runs in a process of its own, whose warnings and peak memory are checked. What is done with
the finished run runs in this process, which has imported torch already.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contraflow.models.weights.packaged import is_prepared
from support.cli import Result

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (is_prepared("smollm2-135m-instruct") and is_prepared("all-minilm-l6-v2")),
        reason="packaged models are not prepared; run `contraflow models download`",
    ),
]


Call = Callable[..., Result]


def in_a_shell(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the console command in a process of its own."""
    command = [sys.executable, "-m", "contraflow.cli", *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=800, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps with an embedded replay server and offline W&B, without any warning."""
    cwd = tmp_path_factory.mktemp("user")
    done = in_a_shell(
        "train",
        "experiment=debug_fast",
        "replay=embedded",
        "logger.wandb=offline",
        "name=e2e",
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "warning" not in (done.stdout + done.stderr).lower()
    assert "strict_success" in done.stdout
    assert "report.html" in done.stdout
    return cwd / "runs" / "e2e"


@pytest.fixture
def here(finished: Path, contraflow: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Commands in the folder in which the user trained."""
    monkeypatch.chdir(finished.parents[1])
    return contraflow


@pytest.mark.defect(11)
def test_run_folder_holds_what_the_docs_promise(finished: Path) -> None:
    expected = [
        "config.yaml",
        "history.jsonl",
        "probes.jsonl",
        "run.json",
        "report.html",
        "checkpoints/last.ckpt",
    ]
    expected += [
        "adapter/adapter_model.safetensors",
        "adapter/flow_head.safetensors",
        "adapter/README.md",
    ]
    expected += [f"evaluation/{stage}.json" for stage in ("subject_only", "before", "after")]
    assert [name for name in expected if not (finished / name).exists()] == []
    steps = [
        json.loads(line)["step"] for line in (finished / "history.jsonl").read_text().splitlines()
    ]
    assert steps == [0, 1]


def test_checkpoint_holds_what_is_trained_and_not_the_backbone(finished: Path) -> None:
    import torch

    state = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all("lora_" in key or "flow" in key for key in state)
    assert (finished / "checkpoints" / "last.ckpt").stat().st_size < 40e6


def test_peak_memory_stays_under_four_gibibytes(finished: Path) -> None:
    assert json.loads((finished / "run.json").read_text())["peak_memory_bytes"] < 4 * 2**30


def test_adapter_is_an_ordinary_peft_folder(finished: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from contraflow.models.weights.packaged import packaged_folder

    base = AutoModelForCausalLM.from_pretrained(
        packaged_folder("smollm2-135m-instruct"), dtype=torch.float32
    )
    model = PeftModel.from_pretrained(base, str(finished / "adapter"))
    trained = [p.abs().sum() for n, p in model.named_parameters() if "lora_B" in n]
    assert sum(map(float, trained)) > 0  # B starts at 0, so something was learned


def test_generate_writes_the_promised_keys(here: Call) -> None:
    arguments = [
        "subject=Hamlet",
        "edit_fact=Hamlet was written by Christopher Marlowe.",
        "n=4",
        "out=q.jsonl",
    ]
    for run in ("runs/e2e", "untrained"):
        done = here("generate", f"run={run}", *arguments)
        assert done.code == 0, done.err[-2000:]
        rows = [json.loads(line) for line in Path("q.jsonl").read_text().splitlines()]
        assert len(rows) == 4
        keys = {"subject", "edit_fact", "question", "answer", "log_contradiction", "log_p_question"}
        assert all(keys | {"log_p_answer", "log_reward", "log_pf"} <= row.keys() for row in rows)
        assert all(row["question"].endswith("?") for row in rows)
    # Without an adapter the sampler is the prior: log P_F = log P_Q to rounding.
    assert all(row["log_pf"] == pytest.approx(row["log_p_question"], abs=1e-2) for row in rows)


def test_a_finished_run_refuses_other_settings(here: Call) -> None:
    words = ("train", "experiment=debug_fast", "replay=embedded", "name=e2e")
    again = here(*words)
    assert again.code == 0
    assert "finished run" in again.err + again.out
    other = here(*words, "objective.lam=0.5")
    assert other.code == 2
    assert "objective.lam" in other.err
    assert "Traceback" not in other.err


def test_evaluate_writes_metrics(here: Call) -> None:
    facts = "runs/e2e/test_facts.jsonl"
    done = here("evaluate", "run=runs/e2e", f"facts={facts}", "n=2", "out=metrics.json")
    assert done.code == 0, done.err[-2000:]
    assert "strict_success" in Path("metrics.json").read_text()
