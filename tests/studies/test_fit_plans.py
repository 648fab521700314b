"""The plans of the fit study name settings that exist, and bad plans are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contraflow.errors import UserError
from studies.fit.plan import Entry, Plan, planned_runs, read_plan

PLANS = sorted((Path(__file__).resolve().parents[2] / "studies" / "fit" / "plans").glob("*.json"))


MANY = 10  # settings; composing one takes some tenths of a second


def plan_file(path: Path) -> Any:
    """A case for the fast tier, unless the plan has many settings."""
    is_long = len(json.loads(path.read_text())["runs"]) > MANY
    return pytest.param(path, id=path.stem, marks=pytest.mark.slow if is_long else ())


@pytest.mark.parametrize("path", [plan_file(path) for path in PLANS])
def test_a_plan_names_existing_settings(path: Path) -> None:
    plan = read_plan(path)
    runs = list(planned_runs(plan))
    assert plan.about and len({run.name for run in runs}) == len(runs) > 0


def plan_of(**changes: Any) -> dict[str, Any]:
    return {"about": "x", "runs": [{"name": "a"}], **changes}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (plan_of(base=["reward.ceiling=1"]), "a: unknown key .reward.ceiling"),
        (plan_of(base=["optimizer.lr=-1"]), "a: optimizer.lr"),
        (plan_of(runs=[{"name": "a"}, {"name": "a"}]), "two runs are called a"),
        (plan_of(runs=[{"name": "a", "program": "sft"}]), "program=sft; choose one of train"),
        (plan_of(runs=[{"name": "a", "override": []}]), "override"),
        ([], "is not a plan"),
    ],
)
def test_a_bad_plan_is_refused_before_any_run(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"plan.json: .*{said}"):
        read_plan(path)


def test_all_settings_come_before_the_second_seed() -> None:
    entries = [Entry("a", overrides=["c"]), Entry("d", seeds=[5])]
    runs = list(planned_runs(Plan(about="x", runs=entries, base=["b"], seeds=[0, 1])))
    assert [run.name for run in runs] == ["a.0", "d.5", "a.1"]
    assert [run.overrides for run in runs] == [("b", "c"), ("b",), ("b", "c")]
