"""What the report shows, gathered from a run folder; a piece that is missing becomes a line that
says so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contraflow.errors import UserError
from contraflow.evaluation.curves import curves_of, is_number
from contraflow.evaluation.definitions import DEFINITIONS
from contraflow.evaluation.fact_health import fact_health
from contraflow.evaluation.metrics import Metrics, read_metrics
from contraflow.evaluation.records import QuestionRecord, read_records
from contraflow.evaluation.verdicts import verdict_of

STAGES = {
    "before": "Untrained",
    "after": "Trained",
    "subject_only": "Untrained, subject-only prompt",
}
HOLDS = {
    "run.json": "cost, configuration and versions",
    "history.jsonl": "learning curves",
    "evaluation/before.json": "metrics of the untrained sampler",
    "evaluation/after.json": "metrics of the trained sampler",
    "evaluation/before_questions.jsonl": "questions of the untrained sampler",
    "evaluation/after_questions.jsonl": "questions of the trained sampler",
}
PART_NAMES = {  # what a reader is told when a part of validity fails
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
    r"(?i)((?:token|secret|passw(?:or)?d|api_?key|credentials?)[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,}]+)"
)
_URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")

T = TypeVar("T")


def gather(run_dir: Path) -> dict[str, Any]:
    """Everything the page needs as plain JSON values; `UserError` if the folder is not a run."""
    if not (run_dir / "run.json").is_file() and not (run_dir / "history.jsonl").is_file():
        raise UserError(
            f"{run_dir}: is not a run folder (no run.json, no history.jsonl); name a folder that contraflow "
            "train has written, such as runs/quickstart"
        )
    missing: list[str] = []
    run = _read(run_dir / "run.json", _read_run, missing) or {}
    history = (
        _read(run_dir / "history.jsonl", lambda path: _read_history(path, missing), missing) or []
    )
    folder = run_dir / "evaluation"
    stages = {
        stage: _read(
            folder / f"{stage}.json", read_metrics, missing, optional=stage == "subject_only"
        )
        for stage in STAGES
    }
    questions = {
        stage: _read(folder / f"{stage}_questions.jsonl", read_records, missing) or []
        for stage in ("before", "after")
    }
    rows = [
        _question_row(stage, record) for stage, records in questions.items() for record in records
    ]
    return {
        "name": str(run.get("name") or run_dir.resolve().name),
        "run": _safe(
            _flat({key: value for key, value in run.items() if key not in ("config", "versions")})
        ),
        "config": _safe(_flat(run.get("config"))),
        "versions": _safe(_flat(run.get("versions"))),
        "cost": _cost(run, history),
        "missing": missing,
        "stage_names": STAGES,
        "part_names": PART_NAMES,
        "definitions": [definition._asdict() for definition in DEFINITIONS],
        "stages": {
            stage: _stage(metrics) for stage, metrics in stages.items() if metrics is not None
        },
        "curves": curves_of(history),
        "questions": rows,
        "relations": _relations(rows),
        "facts": fact_health(questions["after"] or questions["before"]),
    }


def _read(
    path: Path, read: Callable[[Path], T], missing: list[str], *, optional: bool = False
) -> T | None:
    """What is in a file, or None and a line about what the report lacks."""
    name = f"evaluation/{path.name}" if path.parent.name == "evaluation" else path.name
    if not path.is_file():
        if not optional:
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
    """One row a step; a line cut short by a kill is skipped, the steps before it are worth having."""
    rows: list[dict[str, Any]] = []
    bad = 0
    for line in path.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            rows.append(
                dict(json.loads(line))
            )  # accepts NaN, as a diverging run may have written it
        except (ValueError, TypeError, RecursionError):
            bad += 1
    if bad:
        missing.append(f"history.jsonl has {bad} unreadable line{'s' * (bad > 1)}, left out")
    return rows


def _stage(metrics: Metrics) -> dict[str, Any]:
    rows = {
        row.name: {"value": row.value, "low": row.low, "high": row.high, "n": row.n}
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
    """Per relation and stage: facts, questions, and the two headline rates; facts without relation
    apart.
    """
    names = sorted({row["relation"] for row in rows if row["relation"]})
    return [
        {
            "relation": name,
            "stages": _relation_stages([row for row in rows if row["relation"] == name]),
        }
        for name in names
    ]


def _relation_stages(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    by_stage: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_stage.setdefault(row["stage"], []).append(row)
    return {
        stage: {
            "n_facts": len({row["fact_id"] for row in group}),
            "n_questions": len(group),
            "strict": sum(row["strict"] for row in group) / len(group),
            "valid": sum(row["valid"] for row in group) / len(group),
        }
        for stage, group in by_stage.items()
    }


def _cost(run: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Times and memory from run.json; where a killed run left none, what its history tells."""
    seconds = sorted(row["step_seconds"] for row in history if is_number(row.get("step_seconds")))
    from_history = {
        "step_seconds_median": _median(seconds),
        "n_steps": len(history) or None,
        "peak_memory_bytes": None,
        "wall_seconds": None,
    }
    return {
        key: run[key] if is_number(run.get(key)) else value for key, value in from_history.items()
    }


def _median(ordered: Sequence[float]) -> float | None:
    if not ordered:
        return None
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _flat(values: object, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; anything else is kept as it is."""
    if not isinstance(values, Mapping):
        return {}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def _safe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Secrets blotted out: a report is made to be shown around."""
    return {
        key: "(hidden)" if _SECRET.search(key) and value else _plain(value)
        for key, value in values.items()
    }


def _plain(value: object) -> object:
    if isinstance(value, str):
        return _SECRET_OVERRIDE.sub(r"\1(hidden)", _URL_PASSWORD.sub("", value))
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
