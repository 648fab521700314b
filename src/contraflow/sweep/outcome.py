"""The results of a sweep: a CSV table, a Markdown table and an SVG picture."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from contraflow.sweep.study import run_of, settings_of
from contraflow.sweep.trial import RESULT
from contraflow.system.csv_cells import as_text_cell
from contraflow.system.files import write_atomically

_PANEL = 320  # width of a panel, in pixels
_HEIGHT = 220
_MARGIN = 48


def write_outcome(folder: Path, trials: Sequence[FrozenTrial], metric: str) -> str:
    """Write results.csv and results.svg and return the table in Markdown, best first."""
    ended = [t for t in trials if t.state.is_finished() and not _is_interrupted(t, trials)]
    ended.sort(key=lambda t: (_value(t) is None, -(t.value or 0.0), t.number))
    keys = list(dict.fromkeys(key for trial in ended for key in settings_of(trial)))
    header = [*keys, metric, "state", "run"]
    rows: list[list[str]] = []
    for trial in ended:
        settings = settings_of(trial)
        rows.append([*(settings.get(key, "") for key in keys), *_ending(trial)])
    text = io.StringIO()
    cells = [[as_text_cell(cell) for cell in row] for row in [header, *rows]]
    csv.writer(text, lineterminator="\n").writerows(cells)
    write_atomically(folder / "results.csv", text.getvalue().encode())
    write_atomically(folder / "results.svg", picture(ended, keys, metric).encode())
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def without_result(trials: Sequence[FrozenTrial]) -> list[str]:
    """The names of the runs that failed, or whose metric is not defined."""
    failed = [t for t in trials if t.state == TrialState.FAIL and not _is_interrupted(t, trials)]
    return list(dict.fromkeys(map(run_of, failed)))


def _value(trial: FrozenTrial) -> float | None:
    # Optuna's value is what the result is worth, and of a pruned trial that of the watched metric.
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return None
    return float(trial.user_attrs.get(RESULT, trial.value))


def _ending(trial: FrozenTrial) -> tuple[str, str, str]:
    """The cells for the value, the state and the run folder."""
    value = _value(trial)
    return (
        "" if value is None else f"{value:.4f}",
        trial.state.name.lower(),
        f"runs/{run_of(trial)}",
    )


def _is_interrupted(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a failed trial was only interrupted: it had no run, or a later trial has the same."""
    run = run_of(trial)
    return trial.state == TrialState.FAIL and (
        not run or any(t.number > trial.number and run_of(t) == run for t in trials)
    )


def picture(trials: Sequence[FrozenTrial], keys: Sequence[str], metric: str) -> str:
    """Return an SVG with a panel per varied key: values on x, the metric on y, a dot per trial.

    A pruned trial has no value of the metric and is a cross at the bottom.
    """
    values = [value for value in map(_value, trials) if value is not None]
    low = min(values, default=0.0)
    high = max(values, default=1.0)
    room = (high - low) * 0.1 or 0.05
    panels = [_panel(i, key, trials, low - room, high + room) for i, key in enumerate(keys)]
    legend = " (× pruned)" if any(t.state == TrialState.PRUNED for t in trials) else ""
    width = max(1, len(keys)) * _PANEL
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT + 30}" '
        f'width="{width}" font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="10" y="18" font-weight="bold">{html.escape(metric)}{legend}</text>'
        f"{''.join(panels)}</svg>\n"
    )


def _panel(place: int, key: str, trials: Sequence[FrozenTrial], low: float, high: float) -> str:
    left = place * _PANEL + _MARGIN
    right = (place + 1) * _PANEL - 16
    top = 30
    bottom = _HEIGHT - 10
    texts = sorted({settings_of(t)[key] for t in trials if key in settings_of(t)}, key=_order)
    step = (right - left) / max(1, len(texts))
    x_of = {text: left + (i + 0.5) * step for i, text in enumerate(texts)}

    def y_of(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    marks: list[str] = []
    for value in (low, (low + high) / 2, high):
        y = y_of(value)
        marks.append(
            f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    if len(texts) <= 8:
        marks += [_label(x, bottom + 16, text) for text, x in x_of.items()]
    for trial in trials:
        settings = settings_of(trial)
        result = _value(trial)
        if key not in settings or (result is None and trial.state != TrialState.PRUNED):
            continue
        y = bottom if result is None else y_of(result)
        title = ", ".join(f"{k}={v}" for k, v in settings.items())
        marks.append(_mark(x_of[settings[key]], y, title, result))
    middle = (left + right) / 2
    name = f'<text x="{middle}" y="{bottom + 34}" text-anchor="middle">{html.escape(key)}</text>'
    return "".join(marks) + name


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{html.escape(text)}</text>'


def _mark(x: float, y: float, settings: str, value: float | None) -> str:
    title = (
        f"<title>{html.escape(settings)}: {'pruned' if value is None else f'{value:.4f}'}</title>"
    )
    if value is None:
        cross = f"M{x - 4:.1f} {y - 9:.1f}l8 8m0 -8l-8 8"
        return f'<path d="{cross}" stroke="#b3401f" stroke-width="2" fill="none">{title}</path>'
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#0b7a6f" fill-opacity="0.7">'
        f"{title}</circle>"
    )


def _order(text: str) -> tuple[bool, float, str]:
    """Sort key: numbers by value, then the other texts."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
