"""Hundreds of edits: memory stays flat, the cost is told before, and the page stays small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contraflow.cli import main
from contraflow.models.weights.packaged import is_prepared
from support.knowing import Models, make_models, write_edits

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_prepared("all-minilm-l6-v2"), reason="the judge is not prepared"),
]

N_FEW = 50
N_MANY = 200
# Questions, answers, rows and rates of an edit; a model, a cache or a graph would be far more.
MAX_MIB_PER_EDIT = 0.2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("knowing"))


def test_adapting_without_an_adapter_asks_nothing(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused before the screening is paid for."""
    edits = write_edits(tmp_path / "edits.jsonl", 2)
    who = [f"edited={models.edited}", f"control={models.base}", f"edits={edits}"]
    words = [*models.words, *who, "n=2", "adapt_steps=2", f"out={tmp_path / 'audit'}"]
    assert main(["audit", *words]) == 2
    assert "run=untrained has no adapter to train" in capsys.readouterr().err
    assert not (tmp_path / "audit" / "answers.jsonl").exists()


def test_memory_hardly_grows_with_the_edits(models: Models, tmp_path: Path) -> None:
    few = audited(models, tmp_path, N_FEW)
    many = audited(models, tmp_path, N_MANY)
    assert peak_mib(many) - peak_mib(few) < MAX_MIB_PER_EDIT * (N_MANY - N_FEW)
    # What is kept is neither asked nor drawn again, and the rest is told before it is asked.
    assert f"2 questions for each of {N_MANY - N_FEW} edits: about" in many.stderr
    assert (tmp_path / "audit" / "report.html").stat().st_size < 5e6


def audited(models: Models, folder: Path, n: int) -> subprocess.CompletedProcess[str]:
    """An audit of n edits in a process of its own; all are in one folder."""
    edits = write_edits(folder / f"edits_{n}.jsonl", n)
    who = [f"edited={models.edited}", f"control={models.base}", f"edits={edits}"]
    words = ["audit", *models.words, *who, "n=2", f"out={folder / 'audit'}"]
    tests = str(Path(__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "support.peak_memory", *words],
        env={**os.environ, "PYTHONPATH": tests, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )


def peak_mib(done: subprocess.CompletedProcess[str]) -> float:
    """The largest resident size of a process that has ended."""
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("peak ")]
    return float(line.split()[1])
