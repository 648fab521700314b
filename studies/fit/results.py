"""What came of each run, gathered from its folder, and the JSON file of a plan's results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from contraflow.errors import INTERRUPTED, OUT_OF_TIME, UserError
from contraflow.evaluation.curves import is_number
from contraflow.evaluation.grouping import by_fact
from contraflow.evaluation.metrics import Metrics, read_metrics
from contraflow.evaluation.records import read_records
from contraflow.run.session import read_run_config
from contraflow.settings import Config
from contraflow.system.files import whole_lines
from studies.fit.plan import PlannedRun

TAIL = 10  # last steps whose mean stands for the training facts
CURVE_EVERY = 10  # steps of a point of the learning curve
MEASURED = (
    "strict_success",
    "valid_contradiction",
    "well_formed",
    "distinct_questions",
    "distinct_valid",
    "vendi",
    "var_log_ratio",
    "var_log_ratio_median",
    "var_due_to_answers",
    "slope",
)
TRAINED = ("strict_success", "question_ok", "distinct", "var_log_ratio", "slope", "log_reward")
DONE, CUT, FAILED = "done", "cut short", "failed"


class Row(msgspec.Struct, omit_defaults=True):
    """One run. Numbers are of the held-out facts, at temperature 1 unless they say otherwise."""

    setting: str
    seed: int
    program: str
    overrides: list[str]
    arguments: list[str] = []
    status: str = ""
    reason: str = ""
    steps: int = 0
    of_steps: int | None = None
    questions: int | None = None  # questions whose answer was asked for, repeats counted
    wall_seconds: float | None = None  # of the run itself, by its own clock
    seconds: float = 0.0  # in this plan, beside the others
    held_out: dict[str, float] = {}
    different: dict[str, float] = {}  # of n different questions a fact
    training_facts: dict[str, float] = {}
    at_temperature: dict[str, dict[str, float]] = {}
    target: dict[str, Any] = {}
    last_steps: dict[str, float] = {}
    curve: list[dict[str, float]] = []
    shown: list[str] = []  # some held-out questions with their answers

    def said(self) -> str:
        """One line for the terminal."""
        shown = ("strict_success", "distinct_questions", "distinct_valid", "vendi")
        numbers = [f"{k} {self.held_out[k]:.3f}" for k in shown if k in self.held_out]
        return ", ".join([self.status, f"{self.steps} steps", *numbers, self.reason]).rstrip(", ")


class Results:
    """The rows of a plan, one for each run that was started."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self._rows = {(row.setting, row.seed): row for row in rows}

    @classmethod
    def read(cls, out: Path) -> Results:
        """Read `results.json` of a folder; empty without one.

        Raises: UserError when the file is damaged.
        """
        path = out / "results.json"
        if not path.is_file():
            return cls()
        try:
            return cls(msgspec.json.decode(path.read_bytes(), type=list[Row]))
        except msgspec.MsgspecError as error:
            raise UserError(f"{path}: is damaged ({error}); remove it and run again") from None

    @property
    def rows(self) -> list[Row]:
        """All rows, in the order of their start."""
        return list(self._rows.values())

    def put(self, row: Row) -> None:
        """Add or replace the row of a run."""
        self._rows[row.setting, row.seed] = row

    def is_done(self, run: PlannedRun) -> bool:
        """Whether this run, with these settings, has ended by itself."""
        row = self._rows.get((run.setting, run.seed))
        return row is not None and row.status == DONE and _same(row, run)

    def as_json(self) -> bytes:
        """The file's content, indented."""
        return msgspec.json.format(msgspec.json.encode(self.rows)) + b"\n"


def _same(row: Row, run: PlannedRun) -> bool:
    made = (row.program, tuple(row.overrides), tuple(row.arguments))
    return made == (run.program, run.overrides, run.arguments)


def row_of(run: PlannedRun, folder: Path, log: Path, code: int | None) -> Row:
    """The results of a run folder, whole or not. ``code``: its last exit code."""
    row = Row(
        setting=run.setting,
        seed=run.seed,
        program=run.program,
        overrides=list(run.overrides),
        arguments=list(run.arguments),
    )
    history = whole_lines(folder / "history.jsonl")
    evaluation = folder / "evaluation"
    row.steps = len(history)
    config = _config(folder)
    if config is not None and history:
        row.of_steps = config.trainer.n_steps
        row.questions = _n_questions(config, history)
    row.wall_seconds = _json(folder / "run.json").get("wall_seconds")
    row.questions = _json(folder / "cost.json").get("questions", row.questions)
    row.held_out = _measured(evaluation / "after.json")
    row.different = _measured(evaluation / "different.json")
    row.training_facts = _measured(evaluation / "training_facts.json")
    row.target = _json(evaluation / "target.json")
    for path in sorted(evaluation.glob("after_T*.json")):
        row.at_temperature[path.stem.removeprefix("after_T")] = _measured(path)
    row.last_steps = _means(history[-TAIL:], TRAINED)
    row.curve = _curve(history)
    row.shown = _shown(evaluation / "after_questions.jsonl")
    row.status, row.reason = _status(row, folder, log, code)
    return row


def _status(row: Row, folder: Path, log: Path, code: int | None) -> tuple[str, str]:
    if (folder / "finished").is_file() and code == 0:
        return DONE, ""
    if code is None or code < 0 or code in (INTERRUPTED, OUT_OF_TIME):
        done = f"after {row.steps} of {row.of_steps} steps"
        return CUT, done if row.steps else "before its first step"
    return FAILED, _last_line(log)


def _last_line(log: Path) -> str:
    if not log.is_file():
        return ""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(msgspec.json.decode(path.read_bytes()))
    except (OSError, msgspec.MsgspecError):
        return {}


def _config(folder: Path) -> Config | None:
    """The run's settings; None where they cannot be read, which must not end the other runs."""
    try:
        return read_run_config(folder)
    except UserError:
        return None


def _n_questions(config: Config, history: Sequence[dict[str, Any]]) -> int:
    """Questions of all steps that sampled new ones."""
    fresh = sum(1 - float(row.get("replay_share", 0.0)) for row in history)
    return round(fresh * config.trainer.facts_per_step * config.exploration.n_samples)


def _measured(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    metrics: Metrics = read_metrics(path)
    found = {row.name: row.value for row in metrics.rows if row.name in MEASURED}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _shown(path: Path) -> list[str]:
    """The first question of every third fact, with its answer."""
    if not path.is_file():
        return []
    firsts = [group[0] for group in by_fact(read_records(path)).values()]
    return [f"{record.question} | {record.answer}" for record in firsts[::3]]


def _means(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, float]:
    means = {}
    for key in keys:
        values = [row[key] for row in rows if is_number(row.get(key))]
        if values:
            means[key] = sum(values) / len(values)
    return means


def _curve(history: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Means over every ten steps, with the step after the last of them."""
    parts = [history[i : i + CURVE_EVERY] for i in range(0, len(history), CURVE_EVERY)]
    return [{"step": part[-1]["step"] + 1, **_means(part, TRAINED)} for part in parts]
