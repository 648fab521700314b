"""The fit study's runner on tiny models: results as they come, cut runs, another start."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from studies.fit import plan, runner
from studies.fit.__main__ import main
from studies.fit.plan import PlannedRun
from studies.fit.results import Results
from studies.fit.runner import Place
from support.processes import child_environment

pytestmark = pytest.mark.filterwarnings("ignore")
PLAN = {
    "about": "two learning rates",
    "base": ["trainer.n_steps=4"],
    "runs": [
        {"name": "slow", "overrides": ["optimizer.lr=0.001"]},
        {"name": "fast", "overrides": ["optimizer.lr=0.01"]},
    ],
}


@pytest.fixture(autouse=True)
def tiny_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in child_environment().items():
        monkeypatch.setenv(name, value)
    program = ("support.forked", "support.tiny_train:main", "train")
    monkeypatch.setitem(plan.PROGRAMS, "train", program)
    monkeypatch.setattr(runner, "POLL_S", 0.05)
    monkeypatch.setattr(runner, "MIN_START_S", 0.0)


def fit(folder: Path, *words: str, content: dict[str, Any] = PLAN) -> int:
    path = folder / "plan.json"
    path.write_text(json.dumps(content))
    out = str(folder / "out")
    return main(["run", "--plan", str(path), "--out", out, "--device", "cpu", *words])


def rows(folder: Path) -> list[dict[str, Any]]:
    found = json.loads((folder / "out" / "results.json").read_text())
    return sorted(found, key=lambda row: str(row["setting"]))


@pytest.mark.slow
@pytest.mark.usefixtures("fork_server")
def test_a_plan_is_cut_goes_on_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start is stopped in step 2, so each run has three of its four steps."""
    monkeypatch.setenv("TINY_STOP_AT", "2")
    assert fit(tmp_path, "--workers", "2") == 1
    assert [row["status"] for row in rows(tmp_path)] == ["cut short"] * 2
    assert {row["reason"] for row in rows(tmp_path)} == {"after 3 of 4 steps"}
    assert "cut short (after 3 of 4 steps)" in (tmp_path / "out" / "table.md").read_text()

    monkeypatch.delenv("TINY_STOP_AT")
    assert fit(tmp_path, "--workers", "2") == 0
    done = rows(tmp_path)
    assert [(row["setting"], row["status"], row["steps"]) for row in done] == [
        ("fast", "done", 4),
        ("slow", "done", 4),
    ]
    for row in done:
        assert 0 <= row["held_out"]["distinct_valid"] <= row["held_out"]["distinct_questions"] <= 1
        assert row["training_facts"]["slope"] == pytest.approx(row["training_facts"]["slope"])
        assert row["target"]["n_tried"] == 2
        assert row["curve"][-1]["step"] == 4
        assert row["questions"] <= 4 * 2 * 4
    ElementTree.parse(tmp_path / "out" / "frontier.svg")

    logs = {path: path.read_bytes() for path in (tmp_path / "out" / "runs").glob("*.log")}
    assert fit(tmp_path) == 0
    assert {path: path.read_bytes() for path in logs} == logs, "no finished run was started again"


class UntilItLearns(Place):
    """A place whose deadline is when a run has recorded a step."""

    def __getattribute__(self, name: str) -> Any:
        if name != "deadline":
            return super().__getattribute__(name)
        return 0.0 if any(self.runs.glob("*/history.jsonl")) else math.inf


@pytest.mark.slow
@pytest.mark.usefixtures("fork_server")
def test_runs_are_stopped_at_the_deadline(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = PlannedRun("slow", 0, "train", (), ("trainer.n_steps=100000",), ())
    results = runner.run_plan([run], UntilItLearns(out, out / "runs", "cpu", 1, deadline=0.0))
    (row,) = results.rows
    assert row.status == "cut short"
    assert row.reason.endswith(" of 100000 steps") and row.steps > 0
    assert (out / "runs" / "slow.0" / "checkpoints" / "last.ckpt").is_file()
    assert Results.read(out).rows == results.rows


@pytest.mark.slow
@pytest.mark.usefixtures("fork_server")
def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    wrong = PLAN | {"runs": [PLAN["runs"][0] | {"overrides": ["optimizer.lr=1e30"]}]}
    assert fit(tmp_path, content=wrong) == 1
    (row,) = rows(tmp_path)
    assert row["status"] == "failed"
    assert "lower optimizer.lr" in row["reason"]


def test_nothing_is_started_after_the_deadline(tmp_path: Path) -> None:
    assert fit(tmp_path, "--minutes", "0") == 1
    assert not (tmp_path / "out" / "runs").exists()
