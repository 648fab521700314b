"""Killed while it prepares, evaluates, saves adapters or reports, a run ends the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contraflow.settings import Config, EvaluationConfig
from support.processes import child_environment
from support.runs import assert_same, checkpoint, lines, tiny_config, write_tiny_facts

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

# A function and which call of it kills the process. Each start resumes what the last one left.
MOMENTS = [
    # Training facts are chosen, others are not.
    ("contraflow.training.choose_facts.write_facts", 2),
    # Questions of the untrained sampler are there, metrics are not.
    ("contraflow.training.evaluation.write_metrics", 1),
    # One baseline is measured, the other is not.
    ("contraflow.training.evaluation.Evaluation._measure", 2),
    ("contraflow.training.job.sampler_module", 1),
    ("contraflow.training.job.save_adapter", 1),
    ("contraflow.policy.adapter.save_file", 2),  # one adapter is saved, half of the other
    ("contraflow.policy.adapter.Path.rename", 2),  # the other is whole, under its temporary name
    ("contraflow.training.evaluation.write_metrics", 1),  # questions of the trained sampler
    ("contraflow.training.evaluation.write_target", 1),  # drawn for the estimate, not estimated
    ("contraflow.training.job.write_report", 1),
]

KILLS = """
import os, pkgutil, signal, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from support import runs as t
from contraflow.training import job
from training import test_kills_outside_training as test

t.use_tiny_parts(setattr)
folder = Path(sys.argv[1])

def kill_in(name, call):
    place, _, attribute = name.rpartition(".")
    owner = pkgutil.resolve_name(place)
    original, calls = getattr(owner, attribute), []
    def counted(*arguments, **options):
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    setattr(owner, attribute, counted)

for name, call in test.MOMENTS:
    child = os.fork()
    if not child:
        try:
            kill_in(name, call)
            job.train(test.config_of(folder, "cut"))
        finally:
            os._exit(1)  # no child may finish
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (name, status)
for name in ("cut", "whole"):
    job.train(test.config_of(folder, name))
"""


def config_of(folder: Path, name: str) -> Config:
    return tiny_config(folder, name, evaluation=EvaluationConfig(enabled=True, n_samples=2))


def test_kills_before_and_after_training_change_nothing(tmp_path: Path):
    write_tiny_facts(tmp_path / "facts.jsonl")
    ended = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path)],
        env={**os.environ, **child_environment()},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert (cut / "finished").is_file()
    names = [
        {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()} for run in (whole, cut)
    ]
    assert names[0] == names[1] and not [name for name in names[1] if name.endswith(".tmp")]
    assert_same(checkpoint(whole)["state_dict"], checkpoint(cut)["state_dict"])
    assert_same(lines(whole), lines(cut), "history")
    files = sorted(
        name for name in names[0] if name.startswith(("evaluation/", "adapter")) or "_facts" in name
    )
    assert len(files) > 15
    for name in files:
        assert (whole / name).read_bytes() == (cut / name).read_bytes() or name.endswith(
            "README.md"
        ), name
