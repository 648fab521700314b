"""The charts of a training history: groups of metrics with title, unit and caption.

A metric that is in no group gets its own chart, so a new diagnostic appears without a change here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

MAX_POINTS = 1200  # more than a chart has pixels across
VALIDATION = "val_"


class CurveGroup(NamedTuple):
    """One chart: metrics of the same unit, with a caption that tells the reader what to expect."""

    title: str
    keys: tuple[str, ...]
    unit: str
    caption: str
    section: str = "learned"
    log_scale: bool = False  # used if the values are positive and span over two decades


GROUPS = (
    CurveGroup(
        "Log-reward",
        ("log_reward",),
        "nats",
        "What the sampler is taught to follow. It should rise, then level.",
    ),
    CurveGroup(
        "Contradiction",
        ("log_contradiction",),
        "nats",
        "How sure the judge is that the answer contradicts the edited fact; 0 is certain.",
    ),
    CurveGroup(
        "Entailment",
        ("log_entailment",),
        "nats",
        "How sure the judge is that the answer says the original fact; 0 is certain.",
    ),
    CurveGroup(
        "Question likelihood",
        ("log_p_question", "log_pf"),
        "nats",
        "The base model's view of the questions, and the sampler's own. A falling base likelihood "
        "is a first sign of gibberish.",
    ),
    CurveGroup(
        "Answer likelihood", ("log_p_answer",), "nats", "How sure the oracle is of its own answers."
    ),
    CurveGroup(
        "Text checks",
        ("strict_success", "question_ok", "distinct"),
        "share",
        "Shares of a batch: strict success, sound questions, distinct questions. No language model "
        "is asked.",
    ),
    CurveGroup(
        "Loss",
        ("loss",),
        "",
        "What the optimizer lowers, averaged over the questions or facts of a step.",
        "trained",
        log_scale=True,
    ),
    CurveGroup(
        "Imbalance",
        ("var_log_ratio",),
        "nats²",
        "Var(log R - log P_F) within a fact: 0 when sampling is in proportion to the reward.",
        "trained",
        log_scale=True,
    ),
    CurveGroup(
        "Partition function",
        ("log_z", "elbo", "log_z_mc", "eubo"),
        "nats",
        "Bounds of log Z(f), averaged over facts: they meet when sampling is exact. The flow head "
        "has its own word.",
        "trained",
    ),
    CurveGroup(
        "Effective sample size",
        ("ess",),
        "share",
        "Share of a fact's questions that count when weighted by R / P_F; 1 when sampling is "
        "exact.",
        "trained",
    ),
    CurveGroup(
        "Slope and rank correlation",
        ("slope", "rank_correlation"),
        "",
        "Of log P_F on log R within a fact: both 1 at the optimum.",
        "trained",
    ),
    CurveGroup(
        "Distance on subsets (FCS)",
        ("fcs",),
        "",
        "Total variation of P_F and R on random subsets of a fact's questions; 0 when in "
        "proportion.",
        "trained",
    ),
    CurveGroup(
        "How questions begin",
        ("prefix_entropy",),
        "nats",
        "Entropy of the first three tokens within a fact. A fall towards 0 is a collapse to one "
        "opening.",
        "trained",
    ),
    CurveGroup(
        "Length and reward",
        ("length_reward_correlation",),
        "r",
        "Within a fact. Far from 0 for long: the reward may be paying for length itself.",
        "trained",
    ),
    CurveGroup(
        "Staleness",
        ("staleness",),
        "steps",
        "How old replayed questions are: optimizer steps since they were written.",
        "trained",
    ),
    CurveGroup(
        "Temperatures",
        ("reward_temp", "pf_temp"),
        "",
        "Reward temperature by schedule, sampling temperature as drawn for exploration.",
        "trained",
    ),
    CurveGroup(
        "Replay",
        ("replay_share",),
        "share",
        "Share of the batch that came from the replay buffer.",
        "trained",
    ),
    CurveGroup(
        "Question length", ("question_tokens",), "tokens", "Mean, the stop not counted.", "trained"
    ),
    CurveGroup("Gradient norm", ("grad_norm",), "", "Before clipping.", "trained", log_scale=True),
    CurveGroup("Learning rate", ("learning_rate",), "", "By schedule.", "trained"),
    CurveGroup(
        "Step time",
        ("step_seconds",),
        "s",
        "Wall time of one training step.",
        "trained",
        log_scale=True,
    ),
    CurveGroup(
        "Actors: age and reuse",
        ("versions_behind", "uses"),
        "",
        "Most versions of the adapter since a question was written, and most uses of a question.",
        "trained",
    ),
    CurveGroup(
        "Actors: rates",
        ("questions_per_second", "learned_per_second"),
        "1/s",
        "Questions scored by all actors, and questions learned from.",
        "trained",
    ),
    CurveGroup(
        "Actors: idle share",
        ("actors_idle", "learner_idle"),
        "share",
        "Share of the time that actors wait for a version, and the learner for questions.",
        "trained",
    ),
    CurveGroup(
        "Actors: restarts",
        ("restarts", "expired"),
        "",
        "Actors that were started again, and questions that grew too old to be used, so far.",
        "trained",
    ),
)

LABELS = {
    "log_reward": "log R",
    "log_contradiction": "log C",
    "log_p_question": "base log P_Q",
    "log_pf": "sampler log P_F",
    "log_p_answer": "log P_A",
    "log_entailment": "log E",
    "elbo": "ELBO",
    "log_z_mc": "log Z, Monte Carlo",
    "log_z": "log Z, flow head",
    "eubo": "EUBO",
    "log_z_gap": "|log Z error| by fact",
    "ess": "effective sample size",
    "rank_correlation": "rank correlation",
    "fcs": "FCS",
    "strict_success": "strict success",
    "question_ok": "sound question",
    "reward_temp": "reward",
    "pf_temp": "sampling",
}

Point = tuple[float, float]


def curves_of(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the charts in reading order, `GROUPS` first; groups without numbers are left out."""
    series = _series_of(history)
    charts: list[dict[str, Any]] = []
    charted: set[str] = set()
    for group in GROUPS:
        keys = [key for key in _with_validation(group.keys) if key in series]
        charted.update(keys)
        if keys:
            charts.append(_chart(group, keys, series))
    for key in series:
        if key not in charted:
            group = CurveGroup(_label(key), (key,), "", "", "trained")
            charts.append(_chart(group, [key], series))
    return charts


def _chart(
    group: CurveGroup, keys: Iterable[str], series: Mapping[str, list[Point]]
) -> dict[str, Any]:
    lines = [
        {
            "key": key,
            "label": _label(key),
            "validation": key.startswith(VALIDATION),
            "points": _thinned(series[key]),
        }
        for key in keys
    ]
    chart = group._asdict() | {"series": lines}
    del chart["keys"]
    return chart


def _with_validation(keys: Iterable[str]) -> list[str]:
    return [name for key in keys for name in (key, VALIDATION + key)]


def _label(key: str) -> str:
    if key.startswith(VALIDATION):
        return f"{_label(key.removeprefix(VALIDATION))} (validation)"
    return LABELS.get(key, key.replace("_", " "))


def _series_of(history: Sequence[Mapping[str, Any]]) -> dict[str, list[Point]]:
    """All finite numbers by key, as (step, value); a row without a step counts as its index."""
    series: dict[str, list[Point]] = {}
    for index, row in enumerate(history):
        step = row.get("step", index)
        at = float(step) if is_number(step) else float(index)
        for key, value in row.items():
            if key != "step" and is_number(value):
                series.setdefault(key, []).append((at, float(value)))
    return series


def is_number(value: object) -> bool:
    """Return whether the value is a finite int or float; a bool is neither."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _thinned(points: list[Point]) -> list[Point]:
    """Average neighboring points until at most `MAX_POINTS` are left."""
    size = math.ceil(len(points) / MAX_POINTS)
    runs = [points[start : start + size] for start in range(0, len(points), size)]
    return [(_mean(at for at, _ in run), _mean(value for _, value in run)) for run in runs]


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
