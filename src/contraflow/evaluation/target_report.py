"""What an exact sampler of a run's target would have, beside what its samplers have.

Trained and exact sampler are compared on the same facts: those on which the weights of the drawn
questions suffice (`target.py`). The file is `evaluation/target.json`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from contraflow.errors import UserError
from contraflow.evaluation import diversity
from contraflow.evaluation.bootstrap import draw_weights, interval
from contraflow.evaluation.definitions import DEFINITIONS, within
from contraflow.evaluation.grouping import FactOfRecord, by_fact
from contraflow.evaluation.metrics import N_DRAWS, compute_metrics
from contraflow.evaluation.per_fact import Embed, over_facts
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.target import WeightedFact
from contraflow.seeding import derived_seed
from contraflow.system.files import write_atomically

MIN_SIZE = 20.0  # equal draws that the weights of a fact must be worth
N_SIMULATED = 20  # simulated samples per fact, for the Vendi score
FEW = (
    "the weights suffice on fewer than two facts; raise target_samples (of a run: "
    "evaluation.target_samples)"
)
ESTIMATED = (
    "strict_success",
    "valid_contradiction",
    "distinct_questions",
    "distinct_valid",
    "vendi",
)


class TargetMetric(msgspec.Struct, frozen=True, omit_defaults=True):
    """One metric of an exact sampler with its interval over facts, and of the real ones."""

    value: float | None
    low: float | None
    high: float | None
    n: int  # facts averaged
    samplers: dict[str, float | None] = {}  # stage -> the same metric on the same facts


class TargetEstimate(msgspec.Struct, frozen=True):
    """The content of `target.json`.

    n_facts: on which the weights suffice, of n_tried. n_samples: questions drawn per fact.
    n: draws of the exact sampler. sizes: equal draws that each tried fact's weights are worth.
    """

    n_facts: int
    n_tried: int
    n_samples: int
    n: int
    min_size: float
    sizes: list[float]
    metrics: dict[str, TargetMetric]
    note: str = ""


def estimate_target(
    drawn: Sequence[QuestionRecord],
    samplers: Mapping[str, Sequence[QuestionRecord]],
    n: int,
    seed: int,
    embed: Embed | None = None,
) -> TargetEstimate:
    """Estimate the metrics of an exact sampler that draws ``n`` questions per fact.

    Args:
        drawn: of the untrained sampler, without replacement.
        samplers: the questions of each evaluated sampler, by stage.
        embed: without it there is no Vendi score.
    """
    groups = by_fact(drawn)
    facts = {key: WeightedFact.of(group) for key, group in groups.items()}
    enough = {key: fact for key, fact in facts.items() if fact.size >= MIN_SIZE}
    values: dict[str, list[float]] = {name: [] for name in ESTIMATED}
    for key, fact in enough.items():
        for name, value in _of_fact(fact, groups[key], n, seed, embed).items():
            values[name].append(value)
    real = {stage: _on(records, enough) for stage, records in samplers.items()}
    measured = {stage: _values(records, seed, embed) for stage, records in real.items() if records}
    return TargetEstimate(
        n_facts=len(enough),
        n_tried=len(facts),
        n_samples=max((len(group) for group in groups.values()), default=0),
        n=n,
        min_size=MIN_SIZE,
        sizes=[round(fact.size, 1) for fact in facts.values()],
        metrics={name: _metric(name, values[name], measured, seed) for name in ESTIMATED},
        note=FEW if len(enough) < 2 else "",
    )


def write_target(path: Path, estimate: TargetEstimate) -> None:
    """Write indented JSON. Raises: UserError if the file cannot be written."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(estimate)) + b"\n")


def read_target(path: Path) -> TargetEstimate | None:
    """Read what `write_target` wrote; None without the file.

    Raises: UserError when the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=TargetEstimate)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be used ({error}); evaluate the run again") from None


def _of_fact(
    fact: WeightedFact, records: Sequence[QuestionRecord], n: int, seed: int, embed: Embed | None
) -> dict[str, float]:
    has_answer = bool(records[0].original_answer)
    return {
        "strict_success": fact.mean(fact.strict) if has_answer else math.nan,
        "valid_contradiction": fact.mean(fact.valid),
        "distinct_questions": fact.different(n),
        "distinct_valid": fact.different(n, fact.valid),
        "vendi": _vendi(fact, records, n, seed, embed),
    }


def _vendi(
    fact: WeightedFact, records: Sequence[QuestionRecord], n: int, seed: int, embed: Embed | None
) -> float:
    """The mean over simulated samples with a valid question; NaN without any or an encoder."""
    if embed is None or not fact.valid.any():
        return math.nan
    rng = np.random.default_rng(derived_seed(seed, "target", records[0].fact_id))
    samples = [fact.draws(n, rng) for _ in range(N_SIMULATED)]
    valid = [rows[fact.valid[rows]] for rows in samples]
    used = sorted({int(row) for rows in valid for row in rows})
    if not used:
        return math.nan
    vectors = embed([records[row].question for row in used])
    place = {row: i for i, row in enumerate(used)}
    scores = [
        diversity.vendi_score(vectors[[place[int(row)] for row in rows]])
        for rows in valid
        if len(rows)
    ]
    return float(np.mean(scores))


def _on(
    records: Sequence[QuestionRecord], facts: Mapping[FactOfRecord, WeightedFact]
) -> list[QuestionRecord]:
    return [record for key, group in by_fact(records).items() if key in facts for record in group]


def _values(
    records: Sequence[QuestionRecord], seed: int, embed: Embed | None
) -> dict[str, float | None]:
    found = compute_metrics(records, _rng(seed), embed, draws=1)
    return {name: _finite(found[name].value) for name in ESTIMATED}


def _metric(
    name: str,
    values: Sequence[float],
    measured: Mapping[str, Mapping[str, float | None]],
    seed: int,
) -> TargetMetric:
    samplers = {stage: found[name] for stage, found in measured.items()}
    if not values:
        return TargetMetric(None, None, None, 0, samplers)
    statistic = over_facts(values)
    weights = draw_weights(len(values), N_DRAWS, _rng(seed))
    low, high = interval(statistic, weights, within(name))
    value = _finite(statistic.value)
    return TargetMetric(value, _finite(low), _finite(high), statistic.n, samplers)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(derived_seed(seed, "bootstrap"))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def target_lines(estimate: TargetEstimate, titles: Mapping[str, str]) -> list[str]:
    """A Markdown table: an exact sampler of the target, and the real ones on the same facts."""
    labels = {definition.name: definition.label for definition in DEFINITIONS}
    stages = [s for s in titles if any(s in m.samplers for m in estimate.metrics.values())]
    head = ["an exact sampler of the target (estimated)", *(titles[s] for s in stages)]
    about = (
        f"{estimate.n_facts} of {estimate.n_tried} facts whose {estimate.n_samples} weighted prior "
        f"questions suffice, n = {estimate.n}"
    )
    lines = [f"| {about} | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for name, metric in estimate.metrics.items():
        cells = [_cell(metric), *(_number(metric.samplers.get(stage)) for stage in stages)]
        lines.append(f"| {labels[name]} | " + " | ".join(cells) + " |")
    return [*lines, estimate.note] if estimate.note else lines


def _cell(metric: TargetMetric) -> str:
    if metric.low is None or metric.high is None:
        return _number(metric.value)
    return f"{_number(metric.value)} [{metric.low:.3f}, {metric.high:.3f}]"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
