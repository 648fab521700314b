"""Commands on the packaged models.

What the shell sees and what must not depend on the process runs in processes of its own. The rest
runs in this one, which has imported torch already.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.cli import FACTS, Result, assert_one_error

pytestmark = pytest.mark.slow

Call = Callable[..., Result]


def call(folder: Path, *words: str) -> Result:
    command = [sys.executable, "-m", "contraflow.cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def test_untrained_questions_about_a_fact(tmp_path: Path) -> None:
    fact = ("subject=France", "edit_fact=The capital of France is Lyon.")
    first = call(tmp_path, "generate", "run=untrained", *fact, "n=4", "seed=1")
    beside_progress = [
        line
        for line in first.err.splitlines()
        if not re.fullmatch(r"questions \d/4, .* left\s*", line)
    ]
    assert first.code == 0
    assert beside_progress == []  # on a busy machine progress is reported
    rows = [json.loads(line) for line in first.out.splitlines()]
    assert len(rows) == 4
    assert all(row["question"].endswith("?") and row["log_pf"] < 0 for row in rows)
    assert call(tmp_path, "generate", "run=untrained", *fact, "n=4", "seed=1").out == first.out


def test_different_questions_about_a_fact(contraflow: Call) -> None:
    fact = ("subject=the Mona Lisa", "edit_fact=The Mona Lisa was painted by Raphael.")
    words = ("generate", "run=untrained", *fact, "distinct=true", "seed=1")
    done = contraflow(*words, "n=8", "keep=8")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert len({row["question"].lower() for row in rows}) == 8
    assert all(row["log_pf"] < row["log_inclusion"] <= 0 for row in rows)
    best = contraflow(*words, "n=8", "keep=2").out.splitlines()
    rewards = sorted((row["log_reward"] for row in rows), reverse=True)
    assert [json.loads(line)["log_reward"] for line in best] == pytest.approx(rewards[:2])


def test_the_packaged_judge_on_labeled_pairs(contraflow: Call, tmp_path: Path) -> None:
    pairs = [
        ("The capital of France is Lyon.", "The capital of France is Paris.", "contradiction"),
        ("The capital of France is Lyon.", "Lyon is the capital of France.", "entailment"),
        ("The capital of France is Lyon.", "Water boils at 100 degrees.", "neutral"),
    ]
    keys = ("premise", "hypothesis", "label")
    text = "".join(json.dumps(dict(zip(keys, pair, strict=True))) + "\n" for pair in pairs)
    (tmp_path / "pairs.jsonl").write_text(text)
    result = contraflow("judge", "pairs=pairs.jsonl")
    assert result.code == 0, result.err
    assert "3-way accuracy             1.000" in result.out


def test_the_oracle_knows_two_capitals(contraflow: Call, tmp_path: Path) -> None:
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in FACTS))
    result = contraflow("data", "filter-known", "facts=facts.jsonl", "out=known.jsonl")
    assert result.out == "kept 2 facts in known.jsonl; dropped 0 that the oracle does not know\n"


def test_a_subject_longer_than_the_context(tmp_path: Path) -> None:
    row = {"subject": "word " * 9000, "edit_fact": "word " * 9000}
    (tmp_path / "long.jsonl").write_text(json.dumps(row) + "\n")
    result = call(tmp_path, "generate", "run=untrained", "facts=long.jsonl", "n=1")
    assert_one_error(result, "tokens", "shorten")
