"""The scripts in `recipes/` train, log and resume, at a tiny size on the packaged models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contraflow.models.weights.packaged import is_prepared, packaged_folder
from support.runs import lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_prepared("smollm2-135m-instruct"), reason="packaged models are not prepared"
    ),
]

RECIPES = Path(__file__).parents[2] / "recipes"
TINY = (
    "data.filter_known=false",
    "data.max_validation_facts=1",
    "data.max_test_facts=1",
    "exploration.n_samples=2",
    "policy.max_question_len=6",
    "oracle.max_answer_tokens=3",
    "evaluation=none",
    "logger=none",
    "trainer.validate_every=100",
)


def call(folder: Path, script: str, *words: str) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [str(RECIPES / script), *TINY, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ddp_debug_fast_holds_the_oracle_on_rank_0_only(
    tmp_path: Path,
) -> None:
    """The oracle is a second copy of the model, 0.5 GB, which only rank 0's memory may show."""
    words = [
        "trainer.devices=2",
        "trainer.n_steps=2",
        "data.max_train_facts=4",
        "trainer.facts_per_step=1",
    ]
    words += ["oracle=separate", f"oracle.name={packaged_folder('smollm2-135m-instruct')}"]
    printed = call(tmp_path, "ddp_debug_fast.sh", *words)
    assert "rank 0 (sampler, oracle and judge)" in printed
    assert "rank 1 (sampler only)" in printed
    assert [row["step"] for row in lines(tmp_path / "runs" / "ddp_debug_fast")] == [0, 1]
    ranks = json.loads((tmp_path / "runs" / "ddp_debug_fast" / "ranks.json").read_text())
    first, second = (rank["peak_bytes"] / 2**20 for rank in ranks)
    assert first - second > 350
    again = call(tmp_path, "ddp_debug_fast.sh", *words)
    assert "is a finished run" in again
    assert (tmp_path / "training_logs" / "ddp_debug_fast.log").read_text() == printed + again


def test_hybrid_reward_diag_goes_through_both_phases(tmp_path: Path) -> None:
    words = ("trainer.n_steps=2", "reward.penalized_reward_end_step=1", "data.max_train_facts=2")
    printed = call(tmp_path, "hybrid_reward_diag.sh", *words, "trainer.facts_per_step=1")
    assert (tmp_path / "training_logs" / "hybrid_reward_diag.log").read_text() == printed
    first, second = lines(tmp_path / "runs" / "hybrid_reward_diag")
    assert first["log_reward"] != pytest.approx(
        first["log_contradiction"] + first["log_p_question"], abs=0.1
    )
    assert {"log_contradiction", "log_p_question", "var_log_ratio"} <= second.keys()


def test_the_answer_quality_sweep_runs_once(
    tmp_path: Path,
) -> None:
    words = (
        "trials=2",
        "metric=val_log_contradiction",
        "trainer.n_steps=1",
        "data.max_train_facts=6",
    )
    printed = call(tmp_path, "answer_quality_sweep.sh", *words, "trainer.facts_per_step=1")
    assert [f"trial {n} of 2: " in printed for n in (1, 2, 3)] == [True, True, False]
    table = [line for line in printed.splitlines() if line.startswith("| ")]
    assert table[0].split(" | ")[:2] == [
        "| reward.answer_quality_weight",
        "reward.answer_failure_penalty",
    ]
    assert len(table) == 4 and all(" | complete | runs/" in row for row in table[2:])
    assert (
        len((tmp_path / "sweeps" / "answer_quality" / "results.csv").read_text().splitlines()) == 3
    )
    again = call(tmp_path, "answer_quality_sweep.sh", *words, "trainer.facts_per_step=1")
    assert "trial " not in again
    assert [line for line in again.splitlines() if line.startswith("| ")] == table
