"""The data of the report, gathered from a run folder.

A file that is missing or unreadable becomes a line under "missing".
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contraflow.errors import UserError
from contraflow.evaluation.curves import curves_of, is_number
from contraflow.evaluation.definitions import DEFINITIONS
from contraflow.evaluation.fact_health import fact_health
from contraflow.evaluation.grouping import FactOfRecord
from contraflow.evaluation.metrics import Metrics, read_metrics
from contraflow.evaluation.records import QuestionRecord, read_records
from contraflow.evaluation.stages import STAGES
from contraflow.evaluation.target_report import read_target
from contraflow.evaluation.verdicts import verdict_of
from contraflow.settings import flat
from contraflow.system.addresses import without_logins

QUESTION_STAGES = ("before", "after")  # their questions are shown, not only their metrics
HOLDS = {
    "run.json": "cost, configuration and versions",
    "history.jsonl": "learning curves",
    "evaluation/before.json": f"metrics of the {STAGES['before'].noun}",
    "evaluation/after.json": f"metrics of the {STAGES['after'].noun}",
    "evaluation/before_questions.jsonl": f"questions of the {STAGES['before'].noun}",
    "evaluation/after_questions.jsonl": f"questions of the {STAGES['after'].noun}",
}
"""What a report lacks without a file; the other files are optional."""
PART_NAMES = {  # shown for a part of validity that fails
    "well_formed": "not well-formed",
    "on_subject": "off the subject",
    "no_leak": "leaks the answer",
    "on_topic": "answer off topic",
    "not_degenerate": "answer says nothing",
    "contradiction": "no contradiction",
}
_SECRET = re.compile(
    r"(?:^|[._-])(?:token|secret|passw(?:or)?d|api_?key|credentials?)(?:$|[._-])", re.IGNORECASE
)
_SECRET_OVERRIDE = re.compile(
    r"(?i)((?:token|secret|passw(?:or)?d|api_?key|credentials?)[\"']?\s*[=:]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s,}]+)"
)

T = TypeVar("T")


def gather(run_dir: Path) -> dict[str, Any]:
    """Return all data of the page as plain JSON values.

    Raises: UserError when the folder is not a run.
    """
    if not (run_dir / "run.json").is_file() and not (run_dir / "history.jsonl").is_file():
        raise UserError(
            f"{run_dir}: is not a run folder (no run.json, no history.jsonl); name a folder that "
            "contraflow train has written, such as runs/quickstart"
        )
    missing: list[str] = []
    run = _read(run_dir / "run.json", _read_run, missing) or {}
    history = _read(run_dir / "history.jsonl", partial(_read_history, missing=missing), missing)
    history = history or []
    folder = run_dir / "evaluation"
    left_out = _left_out(run.get("config"))
    stages: dict[str, dict[str, Any]] = {}
    for stage in STAGES:
        metrics = _read(folder / f"{stage}.json", read_metrics, missing, stage in left_out)
        if metrics is not None:
            stages[stage] = _stage(metrics)
    questions: dict[str, list[QuestionRecord]] = {}
    rows: list[dict[str, Any]] = []
    for stage in QUESTION_STAGES:
        path = folder / f"{stage}_questions.jsonl"
        questions[stage] = _read(path, read_records, missing, stage in left_out) or []
        rows += [_question_row(stage, record) for record in questions[stage]]
    about_run = {key: run[key] for key in run if key not in ("config", "versions")}
    return {
        "name": str(run.get("name") or run_dir.resolve().name),
        "run": _safe(about_run),
        "config": _safe(run.get("config")),
        "versions": _safe(run.get("versions")),
        "cost": _cost(run, history),
        "missing": missing,
        "stage_names": {name: stage.title.capitalize() for name, stage in STAGES.items()},
        "part_names": PART_NAMES,
        "definitions": [definition._asdict() for definition in DEFINITIONS],
        "stages": stages,
        "target": _read(folder / "target.json", _read_estimate, missing),
        "curves": curves_of(history),
        "questions": rows,
        "relations": _relations(rows),
        "facts": fact_health(questions["after"] or questions["before"]),
    }


def _left_out(config: object) -> tuple[str, ...]:
    """The stages that the settings of a run leave out of its evaluation."""
    settings = flat(config) if isinstance(config, dict) else {}
    if settings.get("evaluation.enabled") is False:
        return tuple(STAGES)
    return ("before",) if settings.get("evaluation.untrained") is False else ()


def _read(
    path: Path, read: Callable[[Path], T], missing: list[str], is_left_out: bool = False
) -> T | None:
    """Read a file; without it, add what the report lacks to ``missing`` and return None.

    A file that the settings of the run leave out is not missed.
    """
    name = f"evaluation/{path.name}" if path.parent.name == "evaluation" else path.name
    if not path.is_file():
        if name in HOLDS and not is_left_out:
            missing.append(f"{name} is not there: no {HOLDS[name]}")
        return None
    try:
        return read(path)
    except UserError as error:
        missing.append(f"{name} cannot be used: {str(error).replace(str(path), name)}")
        return None


def _read_run(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"it is not readable JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError("it is not a JSON object")
    return content


def _read_history(path: Path, missing: list[str]) -> list[dict[str, Any]]:
    """Read one row per step; skip unreadable lines, such as one cut short by a kill."""
    rows: list[dict[str, Any]] = []
    n_bad = 0
    for line in path.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            # `json` accepts NaN, which a diverging run may have written.
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            n_bad += 1
    if n_bad:
        missing.append(f"history.jsonl has {n_bad} unreadable line{'s' * (n_bad > 1)}, left out")
    return rows


def _read_estimate(path: Path) -> dict[str, Any]:
    """What an exact sampler would have, as JSON values."""
    estimate: dict[str, Any] = msgspec.to_builtins(read_target(path))
    return estimate


def _stage(metrics: Metrics) -> dict[str, Any]:
    rows = {
        row.name: {"value": row.value, "low": row.low, "high": row.high, "n": row.n}
        | ({"note": row.note} if row.note else {})
        for row in metrics.rows
    }
    return {"n_facts": metrics.n_facts, "n_questions": metrics.n_questions, "metrics": rows}


def _question_row(stage: str, record: QuestionRecord) -> dict[str, Any]:
    verdict = verdict_of(record)
    checks = asdict(verdict)
    row: dict[str, Any] = msgspec.to_builtins(record)
    del row["aliases"]
    return row | {
        "stage": stage,
        "valid": verdict.valid_contradiction,
        "strict": verdict.strict_success,
        "failed": [name for name in PART_NAMES if not checks[name]],
    }


def _relations(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Summarize the questions of each relation; facts without a relation are left out."""
    by_relation: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["relation"]:
            by_relation.setdefault(row["relation"], []).append(row)
    return [
        {"relation": name, "stages": _relation_stages(by_relation[name])}
        for name in sorted(by_relation)
    ]


def _relation_stages(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """The numbers of facts and questions and the two headline rates of each stage.

    Like the metric, strict success is over the questions whose original answer is known.
    """
    by_stage: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_stage.setdefault(row["stage"], []).append(row)
    return {
        stage: {
            "n_facts": len({tuple(row[name] for name in FactOfRecord._fields) for row in group}),
            "n_questions": len(group),
            "strict": _share("strict", [row for row in group if row["original_answer"]]),
            "valid": _share("valid", group),
        }
        for stage, group in by_stage.items()
    }


def _share(name: str, rows: Sequence[Mapping[str, Any]]) -> float | None:
    return sum(row[name] for row in rows) / len(rows) if rows else None


def _cost(run: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Times and memory from run.json; for a killed run, from its history.

    Where it has more steps than run.json counts, run.json is of an earlier stop.
    """
    seconds = [row["step_seconds"] for row in history if is_number(row.get("step_seconds"))]
    from_history = {
        "step_seconds_median": statistics.median(seconds) if seconds else None,
        "n_steps": len(history) or None,
        "peak_memory_bytes": None,
        "wall_seconds": None,
    }
    if is_number(run.get("n_steps")) and len(history) > run["n_steps"]:
        return from_history
    return {
        key: run[key] if is_number(run.get(key)) else value for key, value in from_history.items()
    }


def _safe(tree: object) -> dict[str, Any]:
    """The settings of a tree under dotted keys without secrets, since reports are shared.

    Empty if ``tree`` is not a mapping.
    """
    values = flat(tree) if isinstance(tree, dict) else {}
    return {
        key: "(hidden)" if _SECRET.search(key) and value else _plain(value)
        for key, value in values.items()
    }


def _plain(value: object) -> object:
    """A value for JSON: secrets inside of strings are hidden, non-finite numbers are strings."""
    if isinstance(value, str):
        return _SECRET_OVERRIDE.sub(r"\1(hidden)", without_logins(value))
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
