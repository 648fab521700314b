"""The GPU benchmark at a tiny size on a CPU: every phase of every way, and the stated work."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import step

FACTS = 2
QUESTIONS = 4
TOKENS = 6


def measure(*words: str) -> str:
    """Run the benchmark here, as importing torch in a process of its own takes longer."""
    printed = io.StringIO()
    with redirect_stdout(printed), torch.random.fork_rng(devices=[]):
        step.main(["--tiny", "--device", "cpu", "--repeats", "1", *words])
    return printed.getvalue()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("gpu") / "gpu.json"
    printed = measure("--out", str(out))
    return out, printed, json.loads(out.read_text())


def test_three_ways_are_timed_phase_by_phase(measured: tuple[Path, str, dict[str, Any]]) -> None:
    _, printed, found = measured
    phases = ["generate", "answer", "judge", "prior", "learn"]
    assert list(found["phases"]) == ["static", "eager", "straightforward"]
    for way, seconds in found["phases"].items():
        at_once = ["judge at once"] if way == "straightforward" else []
        assert list(seconds) == phases + at_once
        assert all(value > 0 for value in seconds.values())
    assert f"{FACTS} facts x {QUESTIONS} questions x {TOKENS} tokens" in printed
    rows = [line.split(" | ")[0] for line in printed.splitlines() if line.startswith("| ")]
    assert rows[1:7] == [f"| {phase}" for phase in (*phases, "step")]


def test_the_step_is_compared_with_both_judges(measured: tuple[Path, str, dict[str, Any]]) -> None:
    """By hand from the medians of one repeat; only the straightforward judge differs."""
    _, printed, found = measured
    plain = dict(found["phases"]["straightforward"])
    at_once = plain.pop("judge at once")
    ours = sum(found["phases"]["static"].values())
    expected = {
        "single judge calls": sum(plain.values()) / ours,
        "judge in one batch": (sum(plain.values()) - plain["judge"] + at_once) / ours,
    }
    assert found["ratios"] == pytest.approx(expected)
    for judge, ratio in expected.items():
        assert f"{ratio:.1f} times the straightforward pipeline with {judge}" in printed


def test_questions_and_answers_have_their_full_length(
    measured: tuple[Path, str, dict[str, Any]],
) -> None:
    """8 questions of 6 tokens: the first token is sampled from the prompt, five passes of at most 8
    rows follow. Every greedy answer has five passes of exactly 8 rows. The judge reads one batch of
    both statements.
    """
    work = measured[2]["work"]
    assert work["generate.decode"]["passes"] == TOKENS - 1
    assert 0 < work["generate.decode"]["tokens"] <= FACTS * QUESTIONS * (TOKENS - 1)
    assert work["answer.decode"]["passes"] == TOKENS - 1
    assert work["answer.decode"]["tokens"] == FACTS * QUESTIONS * (TOKENS - 1)
    assert work["judge.read"]["passes"] == 1
    assert work["learn.read"]["tokens"] == work["prior.read"]["tokens"]


def test_the_curve_is_of_decoding_passes(measured: tuple[Path, str, dict[str, Any]]) -> None:
    for rows in measured[2]["curves"].values():
        assert [row["rows"] for row in rows] == [8, 16]
        for row in rows:
            assert row["tokens_per_s"] == pytest.approx(1e3 * row["rows"] / row["ms"])


def test_waits_and_kernels_are_counted(measured: tuple[Path, str, dict[str, Any]]) -> None:
    _, printed, found = measured
    assert set(found["waits"]) == {"static", "eager"}
    for phases in found["waits"].values():
        assert list(phases) == ["generate", "answer", "judge", "prior", "learn"]
    # Only the eager decoder asks at every token which texts have ended.
    assert found["waits"]["static"]["generate"] < found["waits"]["eager"]["generate"]
    assert found["waits"]["static"]["prior"] == found["waits"]["static"]["judge"] == 0
    for phase, kernels in found["kernels"].items():
        assert kernels["n"] > 0 and kernels["ms"] > 0
        times = [ms for _, _, ms in kernels["longest"]]
        assert len(times) == 12 and times == sorted(times, reverse=True)
        assert f"{phase}: {kernels['n']} kernels" in printed


def test_without_time_left_there_is_a_partial_file(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    printed = measure("--minutes", "0", "--out", str(out))
    found = json.loads(out.read_text())
    assert found["phases"] == {} and "environment" in found
    assert "kernels" not in found and "s left" in printed


@pytest.mark.parametrize("words", [(), ("--decode-us", "1.5")])
def test_the_scaling_study_reads_the_file(
    measured: tuple[Path, str, dict[str, Any]], words: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "studies.scaling", "--measured", str(measured[0]), *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("measured over predicted, applied to both models: generate ")
