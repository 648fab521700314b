"""What came out of a sweep: a table that other tools read, one that people read, and a picture."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from contraflow.sweep.study import settings_of
from contraflow.system.files import write_atomically

_PANEL, _HEIGHT, _MARGIN = 320, 220, 48


def write_outcome(folder: Path, trials: Sequence[FrozenTrial], metric: str) -> str:
    """Write results.csv and results.svg; returns the table in Markdown, best first."""
    told = sorted(trials, key=lambda t: (_value(t) is None, -(_value(t) or 0.0), t.number))
    told = [t for t in told if t.state.is_finished() and not _asked_again(t, trials)]
    keys = list(dict.fromkeys(key for trial in told for key in settings_of(trial)))
    header = [*keys, metric, "state", "run"]
    rows = [[*(settings_of(t).get(k, "") for k in keys), *_ending(t)] for t in told]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_atomically(folder / "results.csv", text.getvalue().encode())
    write_atomically(folder / "results.svg", picture(told, keys, metric).encode())
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _value(trial: FrozenTrial) -> float | None:
    # Optuna gives a pruned trial the last number that it was watched by, which is another one than
    # the metric.
    return trial.value if trial.state == TrialState.COMPLETE else None


def _ending(trial: FrozenTrial) -> tuple[str, str, str]:
    value = _value(trial)
    return (
        "" if value is None else f"{value:.4f}",
        trial.state.name.lower(),
        f"runs/{trial.user_attrs.get('run', '')}",
    )


def _asked_again(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a failed trial was only interrupted: a later one has its settings."""
    run = trial.user_attrs.get("run")
    return trial.state == TrialState.FAIL and any(
        t.number > trial.number and t.user_attrs.get("run") == run for t in trials
    )


def picture(trials: Sequence[FrozenTrial], keys: Sequence[str], metric: str) -> str:
    """A panel for each varied key: its values across, the metric upwards, a dot for each trial that
    ended.

    A pruned trial has no such number: it is a cross at the foot.
    """
    values = [value for value in map(_value, trials) if value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.1 or 0.05
    low, high = low - room, high + room
    panels = [_panel(i, key, trials, low, high) for i, key in enumerate(keys)]
    legend = " (× pruned)" if any(t.state == TrialState.PRUNED for t in trials) else ""
    width = max(1, len(keys)) * _PANEL
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT + 30}" width="{width}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="10" y="18" font-weight="bold">{html.escape(metric)}{legend}</text>{"".join(panels)}</svg>\n'
    )


def _panel(place: int, key: str, trials: Sequence[FrozenTrial], low: float, high: float) -> str:
    left, right, top, bottom = place * _PANEL + _MARGIN, (place + 1) * _PANEL - 16, 30, _HEIGHT - 10
    words = sorted({settings_of(t)[key] for t in trials if key in settings_of(t)}, key=_order)
    step = (right - left) / max(1, len(words))
    marks = [
        f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{v:.3g}</text>'
        for v in (low, (low + high) / 2, high)
        for y in [bottom - (v - low) / (high - low) * (bottom - top)]
    ]
    for i, word in enumerate(words if len(words) <= 8 else ()):
        x = left + (i + 0.5) * step
        marks.append(
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{html.escape(word)}</text>'
        )
    for trial in trials:
        told = settings_of(trial)
        if key not in told or (
            (value := _value(trial)) is None and trial.state != TrialState.PRUNED
        ):
            continue
        x = left + (words.index(told[key]) + 0.5) * step
        y = bottom if value is None else bottom - (value - low) / (high - low) * (bottom - top)
        marks.append(_mark(x, y, ", ".join(f"{k}={v}" for k, v in told.items()), value))
    middle = (left + right) / 2
    return (
        "".join(marks)
        + f'<text x="{middle}" y="{bottom + 34}" text-anchor="middle">{html.escape(key)}</text>'
    )


def _mark(x: float, y: float, settings: str, value: float | None) -> str:
    title = (
        f"<title>{html.escape(settings)}: {'pruned' if value is None else f'{value:.4f}'}</title>"
    )
    if value is None:
        cross = f"M{x - 4:.1f} {y - 9:.1f}l8 8m0 -8l-8 8"
        return f'<path d="{cross}" stroke="#b3401f" stroke-width="2" fill="none">{title}</path>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#0b7a6f" fill-opacity="0.7">{title}</circle>'


def _order(word: str) -> tuple[bool, float, str]:
    try:
        return False, float(word), word
    except ValueError:
        return True, 0.0, word
