"""What each source of questions found: distinct failing questions and failure modes.

A yield of a search, never a prevalence. Sources are compared at an equal number of questions asked,
by the expected number found in random order (rarefaction).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from contraflow.auditing.estimates import proportion
from contraflow.auditing.modes import Embed, mode_labels, rarefaction
from contraflow.auditing.result import Estimate, FailureMode, SourceYield
from contraflow.auditing.rows import ADAPTED, OWN, PARAPHRASE, PRIOR, SAMPLER, Row

FAILURE_SOURCES = (SAMPLER, PRIOR, PARAPHRASE, ADAPTED, OWN)
MAX_CURVE_POINTS = 40
MAX_QUESTIONS_SHOWN = 12

# The failure mode of each failing question of an edit.
Modes = dict[str, int]


def failing_modes(rows: Sequence[Row], embed: Embed | None) -> Modes:
    """Cluster the failing questions of one edit by meaning, whatever their source."""
    texts = list(dict.fromkeys(row.question for row in rows if row.fails))
    return dict(zip(texts, mode_labels(texts, embed), strict=True))


def shown_modes(rows: Sequence[Row], modes: Modes) -> tuple[FailureMode, ...]:
    """Each mode by its likeliest question under P_Q, the largest mode first."""
    members: dict[int, list[Row]] = {}
    for row in {row.question: row for row in rows if row.fails}.values():
        members.setdefault(modes[row.question], []).append(row)
    shown = [_shown(group) for group in members.values()]
    return tuple(sorted(shown, key=lambda mode: (-mode.n_questions, mode.question)))


def _shown(group: Sequence[Row]) -> FailureMode:
    ordered = sorted(group, key=_unlikeliness)
    first = ordered[0]
    return FailureMode(
        question=first.question,
        pre_answer=first.pre_answer,
        post_answer=first.post_answer,
        post=first.post,
        n_questions=len(group),
        questions=tuple(row.question for row in ordered[:MAX_QUESTIONS_SHOWN]),
    )


def _unlikeliness(row: Row) -> tuple[float, str]:
    # Questions that nobody drew have no log P_Q; they come last.
    return (-row.log_p_prior if row.log_p_prior is not None else np.inf, row.question)


def source_yield(
    source: str, rows: Mapping[str, Sequence[Row]], modes: Mapping[str, Modes]
) -> SourceYield:
    """What one source found over all edits. Equal texts about one edit are one question."""
    asked = [
        (key, row)
        for key, of_edit in rows.items()
        for row in {row.question: row for row in of_edit if source in row.sources}.values()
    ]
    failing = [(key, row.question) for key, row in asked if row.fails]
    labels = _numbered([(key, modes[key][question]) for key, question in failing])
    at = _points(len(asked))
    return SourceYield(
        source=source,
        n_asked=len(asked),
        n_failing=len(failing),
        n_modes=len(set(labels)),
        per_100=_per_100(len(failing), len(asked)),
        asked=tuple(at),
        failing=tuple(len(failing) * n / max(1, len(asked)) for n in at),
        modes=tuple(float(v) for v in rarefaction(labels, len(asked), at)) if asked else (),
    )


def _per_100(n_failing: int, n_asked: int) -> Estimate:
    share = proportion(n_failing, n_asked)
    if share.value is None or share.low is None or share.high is None:
        return share
    return Estimate(
        value=100 * share.value,
        low=100 * share.low,
        high=100 * share.high,
        n=share.n,
        ess=share.ess,
    )


def _numbered(labels: Sequence[tuple[str, int]]) -> list[int]:
    numbers = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    return [numbers[label] for label in labels]


def _points(n: int) -> list[int]:
    """Up to `MAX_CURVE_POINTS` numbers of questions, 0 and n among them."""
    if n == 0:
        return []
    grid: Float[np.ndarray, " p"] = np.linspace(0, n, min(n, MAX_CURVE_POINTS) + 1)
    return sorted({round(float(value)) for value in grid})
