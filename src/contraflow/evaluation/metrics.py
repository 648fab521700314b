"""The table of metrics of evaluated questions, with 95 % intervals, and its JSON file.

Rates and means are over questions. Diversity and Var(log R - log P_F) are computed per fact and
averaged over the facts where they are defined. Correlations pool all questions after both logs are
centered per fact: log Z(f) differs between facts and would otherwise raise the correlation.
Intervals resample facts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from contraflow.errors import UserError
from contraflow.evaluation.bootstrap import MIN_FACTS, Array, Statistic, draw_weights, interval
from contraflow.evaluation.definitions import DEFINITIONS, Definition, within
from contraflow.evaluation.per_fact import Embed, QuestionTable
from contraflow.evaluation.records import QuestionRecord
from contraflow.system.files import write_atomically

N_DRAWS = 1000
BY_ENCODER = ("embedding_distance", "vendi")
NO_ENCODER = "left out: there is no sentence encoder"
NO_INTERVAL = "no interval: it needs two facts"


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table: a value, its interval and the definition it belongs to."""

    name: str
    value: float
    low: float
    high: float
    n: int  # units averaged: questions for rates, facts for per-fact metrics
    unit: str
    meaning: str
    note: str = ""  # why there is no value or no interval, if that is known


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """All metrics of one set of questions, in the order of `DEFINITIONS`."""

    n_facts: int
    n_questions: int
    rows: tuple[Metric, ...]

    def __getitem__(self, name: str) -> Metric:
        """Return the row of this name. Raises: KeyError."""
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
    """Compute every metric of the table; without `embed` the two that need an encoder are NaN.

    The intervals depend on the records and `rng` only.

    Raises: UserError when there are no records.
    """
    if not records:
        raise UserError(
            "no questions to evaluate: the sampler wrote none, or the file of questions is empty"
        )
    questions = QuestionTable(records)
    statistics = questions.statistics(embed)
    weights = draw_weights(questions.n_facts, draws, rng)
    rows = tuple(
        _row(definition, statistics[definition.name], weights, embed is not None)
        for definition in DEFINITIONS
    )
    return Metrics(n_facts=questions.n_facts, n_questions=len(records), rows=rows)


def write_metrics(path: str | Path, metrics: Metrics) -> None:
    """Write indented JSON with the metrics under their names; NaN becomes null."""
    rows = {
        row.name: {
            k: v
            for k, v in msgspec.to_builtins(row).items()
            if k != "name" and (k, v) != ("note", "")
        }
        for row in metrics.rows
    }
    content = {"n_facts": metrics.n_facts, "n_questions": metrics.n_questions, "metrics": rows}
    write_atomically(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def read_metrics(path: str | Path) -> Metrics:
    """Read what `write_metrics` wrote. Raises: UserError naming the file."""
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
    one_fact = content.n_facts < MIN_FACTS
    rows = tuple(row.named(name, one_fact) for name, row in content.metrics.items())
    return Metrics(n_facts=content.n_facts, n_questions=content.n_questions, rows=rows)


class _Row(msgspec.Struct):
    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    meaning: str
    note: str = ""

    def named(self, name: str, one_fact: bool) -> Metric:
        """The metric; files of before 0.2 have intervals over one fact, which say nothing."""
        numbers = {key: _nan_for_null(getattr(self, key)) for key in ("value", "low", "high")}
        note = self.note
        if one_fact and not math.isnan(numbers["value"]):
            numbers |= {"low": math.nan, "high": math.nan}
            note = note or NO_INTERVAL
        return Metric(
            name=name, n=self.n, unit=self.unit, meaning=self.meaning, note=note, **numbers
        )


class _MetricsFile(msgspec.Struct):
    n_facts: int
    n_questions: int
    metrics: dict[str, _Row]


def _nan_for_null(value: float | None) -> float:
    return math.nan if value is None else value


def _row(definition: Definition, statistic: Statistic, weights: Array, has_encoder: bool) -> Metric:
    low, high = interval(statistic, weights, within(definition.name))
    note = ""
    if definition.name in BY_ENCODER and not has_encoder:
        note = NO_ENCODER
    elif not math.isnan(statistic.value) and statistic.n_facts < MIN_FACTS:
        note = NO_INTERVAL
    return Metric(
        name=definition.name,
        value=statistic.value,
        low=low,
        high=high,
        n=statistic.n,
        unit=definition.unit,
        meaning=definition.meaning,
        note=note,
    )
