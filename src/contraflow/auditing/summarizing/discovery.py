"""What each source of questions found: distinct failing questions and failure modes.

A yield of a search, never a prevalence. Curves are expected numbers found in random order
(rarefaction; Hurlbert 1971), with bands; sources are compared with equally many questions about
each edit. Only questions are counted: a given text that is to be continued can be no failing one
(`continuations.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from contraflow.auditing.outcome.result import Estimate, FailureMode, SourceComparison, SourceYield
from contraflow.auditing.outcome.rows import ADAPTED, GIVEN, OWN, PARAPHRASE, PRIOR, SAMPLER, Row
from contraflow.auditing.statistics.bands import (
    Found,
    band,
    drawn_again,
    failing_after,
    modes_after,
    per_100,
)
from contraflow.auditing.statistics.equal_budget import failing_difference, modes_difference
from contraflow.auditing.summarizing.modes import Embed, mode_labels

FAILURE_SOURCES = (SAMPLER, PRIOR, PARAPHRASE, ADAPTED, OWN)
MAX_CURVE_POINTS = 40
MAX_QUESTIONS_SHOWN = 12

# The failure mode of each failing question of an edit.
Modes = dict[str, int]


def failing_modes(rows: Sequence[Row], embed: Embed | None) -> Modes:
    """Cluster the failing questions of one edit by meaning, whatever their source."""
    subject = rows[0].subject if rows else ""
    texts = list(dict.fromkeys(row.question for row in rows if row.fails))
    return dict(zip(texts, mode_labels(texts, embed, subject), strict=True))


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
    source: str,
    rows: Mapping[str, Sequence[Row]],
    modes: Mapping[str, Modes],
    rng: np.random.Generator,
) -> SourceYield:
    """What one source found over the edits that it asked about; equal texts are one question."""
    found = [f for f in _found(source, rows, modes) if f.n_asked]
    n_asked = sum(f.n_asked for f in found)
    at = _points(n_asked)
    times = drawn_again(len(found), rng) if found else np.zeros((0, 0), dtype=np.int64)
    failing = failing_after(found, times, at) if at else np.zeros((1, 0))
    new_modes = modes_after(found, times, at) if at else np.zeros((1, 0))
    failing_band, modes_band = (band(curves, at, len(found)) for curves in (failing, new_modes))
    return SourceYield(
        source=source,
        n_asked=n_asked,
        n_failing=sum(f.n_failing for f in found),
        n_modes=sum(len(f.mode_sizes) for f in found),
        per_100=per_100(found),
        asked=tuple(at),
        failing=tuple(map(float, failing[0])),
        failing_low=failing_band.low,
        failing_high=failing_band.high,
        modes=tuple(map(float, new_modes[0])),
        modes_low=modes_band.low,
        modes_high=modes_band.high,
    )


def compared(
    first: str,
    second: str,
    rows: Mapping[str, Sequence[Row]],
    modes: Mapping[str, Modes],
    rng: np.random.Generator,
) -> SourceComparison:
    """Two sources with equally many questions about each edit that both asked about."""
    of_first, of_second = _found(first, rows, modes), _found(second, rows, modes)
    both = [(a, b) for a, b in zip(of_first, of_second, strict=True) if a.n_asked and b.n_asked]
    if not both:
        missing = Estimate.missing("no edit that both asked about")
        return SourceComparison(first=first, second=second, at=0, failing=missing, modes=missing)
    ours, theirs = [a for a, _ in both], [b for _, b in both]
    failing = failing_difference(ours, theirs, rng)
    return SourceComparison(
        first=first,
        second=second,
        at=failing.n,
        failing=failing,
        modes=modes_difference(ours, theirs, rng),
    )


def _found(
    source: str, rows: Mapping[str, Sequence[Row]], modes: Mapping[str, Modes]
) -> list[Found]:
    """What a source found about each edit, in the order of the edits."""
    found = []
    for key, of_edit in rows.items():
        asked = {row.question: row for row in of_edit if _is_asked_by(source, row)}
        labels = [modes[key][question] for question, row in asked.items() if row.fails]
        found.append(Found(len(asked), tuple(Counter(labels).values())))
    return found


def _is_asked_by(source: str, row: Row) -> bool:
    """Whether a source asks it. What a sampler writes counts, even if it is no question."""
    return source in row.sources and not (source in GIVEN and row.is_continuation)


def _points(n: int) -> list[int]:
    """Up to `MAX_CURVE_POINTS` numbers of questions, 0 and n among them."""
    if n == 0:
        return []
    grid: Float[np.ndarray, " p"] = np.linspace(0, n, min(n, MAX_CURVE_POINTS) + 1)
    return sorted({round(float(value)) for value in grid})
