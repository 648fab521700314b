"""The whole job on the packaged models, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contraflow.models.packaged import is_prepared

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (is_prepared("smollm2-135m-instruct") and is_prepared("all-minilm-l6-v2")),
        reason="packaged models are not prepared; run `contraflow models download`",
    ),
]


def contraflow(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
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
    done = contraflow(
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

    from contraflow.models.packaged import packaged_folder

    base = AutoModelForCausalLM.from_pretrained(
        packaged_folder("smollm2-135m-instruct"), dtype=torch.float32
    )
    model = PeftModel.from_pretrained(base, str(finished / "adapter"))
    trained = [p.abs().sum() for n, p in model.named_parameters() if "lora_B" in n]
    assert sum(map(float, trained)) > 0  # B starts at 0, so something was learned


def test_generate_writes_the_promised_keys(
    finished: Path,
) -> None:
    cwd = finished.parents[1]
    arguments = [
        "subject=Hamlet",
        "edit_fact=Hamlet was written by Christopher Marlowe.",
        "n=4",
        "out=q.jsonl",
    ]
    for run in ("runs/e2e", "untrained"):
        done = contraflow("generate", f"run={run}", *arguments, cwd=cwd)
        assert done.returncode == 0, done.stderr[-2000:]
        rows = [json.loads(line) for line in (cwd / "q.jsonl").read_text().splitlines()]
        assert len(rows) == 4
        keys = {"subject", "edit_fact", "question", "answer", "log_contradiction", "log_p_question"}
        assert all(keys | {"log_p_answer", "log_reward", "log_pf"} <= row.keys() for row in rows)
        assert all(row["question"].endswith("?") for row in rows)
    # Without an adapter the sampler is the prior: log P_F = log P_Q to rounding.
    assert all(row["log_pf"] == pytest.approx(row["log_p_question"], abs=1e-2) for row in rows)


def test_a_finished_run_refuses_other_settings(finished: Path) -> None:
    cwd = finished.parents[1]
    again = contraflow("train", "experiment=debug_fast", "replay=embedded", "name=e2e", cwd=cwd)
    assert again.returncode == 0
    assert "finished run" in again.stderr + again.stdout
    other = contraflow(
        "train",
        "experiment=debug_fast",
        "replay=embedded",
        "name=e2e",
        "objective.lam=0.5",
        cwd=cwd,
    )
    assert other.returncode == 2
    assert "objective.lam" in other.stderr
    assert "Traceback" not in other.stderr


def test_evaluate_writes_metrics(finished: Path) -> None:
    cwd = finished.parents[1]
    facts = "runs/e2e/test_facts.jsonl"
    done = contraflow(
        "evaluate", "run=runs/e2e", f"facts={facts}", "n=2", "out=metrics.json", cwd=cwd
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "strict_success" in (cwd / "metrics.json").read_text()
