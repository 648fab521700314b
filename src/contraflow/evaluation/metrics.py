"""From evaluated questions to a table of metrics with 95 % intervals. Pure: records in, numbers
out.

Rates and means are over questions; diversity and Var(log R - log P_F) are computed per fact and
averaged over the facts where they are defined. Correlations pool all questions after both logs were
centered on their fact, because log Z(f) differs from fact to fact and would otherwise pass for
skill. Intervals resample facts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from contraflow.errors import UserError
from contraflow.evaluation.bootstrap import Array, Statistic, draw_weights, interval
from contraflow.evaluation.definitions import BY_NAME, DEFINITIONS
from contraflow.evaluation.per_fact import Embed, QuestionTable
from contraflow.evaluation.records import QuestionRecord
from contraflow.system.files import write_atomically

N_DRAWS = 1000


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table; `n` counts what was averaged: questions for rates, facts for per-fact
    metrics.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    unit: str
    meaning: str


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """All metrics of one set of questions, in the order of the table of definitions."""

    n_facts: int
    n_questions: int
    rows: tuple[Metric, ...]

    def __getitem__(self, name: str) -> Metric:
        """The row of that name; `KeyError` if there is none."""
        found = next((row for row in self.rows if row.name == name), None)
        if found is None:
            raise KeyError(name)
        return found


def compute_metrics(
    records: Sequence[QuestionRecord],
    rng: np.random.Generator,
    embed: Embed | None = None,
    draws: int = N_DRAWS,
) -> Metrics:
    """Every metric of the table; without `embed` the two that need an encoder are NaN.

    The intervals depend on the records and `rng` only. `UserError` if there are no records.
    """
    if not records:
        raise UserError(
            "no questions to evaluate: the sampler wrote none, or the file of questions is empty"
        )
    questions = QuestionTable(records)
    statistics = questions.statistics(embed)
    weights = draw_weights(questions.n_facts, draws, rng)
    rows = tuple(
        _row(definition.name, statistics[definition.name], weights) for definition in DEFINITIONS
    )
    return Metrics(n_facts=questions.n_facts, n_questions=len(records), rows=rows)


def write_metrics(path: str | Path, metrics: Metrics) -> None:
    """Write indented JSON, metrics keyed by name; NaN becomes null."""
    rows = {
        row.name: {k: v for k, v in msgspec.to_builtins(row).items() if k != "name"}
        for row in metrics.rows
    }
    content = {"n_facts": metrics.n_facts, "n_questions": metrics.n_questions, "metrics": rows}
    write_atomically(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def read_metrics(path: str | Path) -> Metrics:
    """Read what `write_metrics` wrote; `UserError` naming the file if it is something else."""
    try:
        content = msgspec.json.decode(Path(path).read_bytes(), type=_MetricsFile)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); run contraflow evaluate first"
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(
            f"{path}: is not a metrics file ({error}); run contraflow evaluate again"
        ) from None
    rows = tuple(row.named(name) for name, row in content.metrics.items())
    return Metrics(n_facts=content.n_facts, n_questions=content.n_questions, rows=rows)


class _Row(msgspec.Struct):
    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    meaning: str

    def named(self, name: str) -> Metric:
        numbers = {key: _nan_for_null(getattr(self, key)) for key in ("value", "low", "high")}
        return Metric(name=name, n=self.n, unit=self.unit, meaning=self.meaning, **numbers)


class _MetricsFile(msgspec.Struct):
    n_facts: int
    n_questions: int
    metrics: dict[str, _Row]


def _nan_for_null(value: float | None) -> float:
    return math.nan if value is None else value


def _row(name: str, statistic: Statistic, weights: Array) -> Metric:
    low, high = interval(statistic, weights)
    unit, meaning = BY_NAME[name].unit, BY_NAME[name].meaning
    return Metric(
        name=name,
        value=statistic.value,
        low=low,
        high=high,
        n=statistic.n,
        unit=unit,
        meaning=meaning,
    )
