"""The table and the picture of a plan's results: `table.md` and `frontier.svg`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from contraflow.system.files import write_atomically
from studies.fit.frontier import AXES, Point, frontier, hypervolume, ties
from studies.fit.picture import picture
from studies.fit.results import CUT, DONE, FAILED, Row

COLUMNS = {  # key of the held-out facts -> heading
    "strict_success": "strict success",
    "distinct_questions": "distinct",
    "distinct_valid": "distinct and valid",
    "vendi": "Vendi among valid",
    "var_log_ratio": "Var",
    "var_log_ratio_median": "Var, median",
    "var_due_to_answers": "Var due to answers",
}
OF_DIFFERENT = {"strict_success": "strict success, n different", "distinct_valid": "valid of those"}
OF_TRAINING = {"var_log_ratio": "Var, training facts", "slope": "slope, training facts"}


def write_table(out: Path, rows: Sequence[Row]) -> Path:
    """Write both files and return the path of the table."""
    path = out / "table.md"
    write_atomically(path, markdown(rows).encode())
    points = points_of(rows)
    if points:
        write_atomically(out / "frontier.svg", picture(points).encode())
    return path


def markdown(rows: Sequence[Row]) -> str:
    """All results as Markdown: finished settings, the frontier, then runs that have no result."""
    parts = [_settings_table(rows)]
    points = points_of(rows)
    if points:
        parts.append(_frontier_text(points))
    parts.append(_unfinished(rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def points_of(rows: Sequence[Row]) -> list[Point]:
    """One point per setting and temperature, of the finished runs."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        measured = {"": row.held_out, " different": row.different} | {
            f" T={t}": m for t, m in row.at_temperature.items()
        }
        for suffix, metrics in measured.items():
            if row.status == DONE and all(axis in metrics for axis in AXES):
                pair = (metrics[AXES[0]], metrics[AXES[1]])
                found.setdefault(row.setting + suffix, []).append(pair)
    return [
        Point(name, tuple(x for x, _ in pairs), tuple(y for _, y in pairs))
        for name, pairs in found.items()
    ]


def _settings_table(rows: Sequence[Row]) -> str:
    done: dict[str, list[Row]] = {}
    for row in rows:
        if row.status == DONE:
            done.setdefault(row.setting, []).append(row)
    heads = [
        "setting",
        "seeds",
        *COLUMNS.values(),
        *OF_DIFFERENT.values(),
        *OF_TRAINING.values(),
        "questions",
        "minutes",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, group in done.items():
        cells = [name, str(len(group))]
        cells += [_cell([row.held_out.get(key) for row in group]) for key in COLUMNS]
        cells += [_cell([row.different.get(key) for row in group]) for key in OF_DIFFERENT]
        cells += [_cell([row.training_facts.get(key) for row in group]) for key in OF_TRAINING]
        cells += [_cell([row.questions for row in group], 0)]
        minutes = [None if r.wall_seconds is None else r.wall_seconds / 60 for r in group]
        lines.append("| " + " | ".join([*cells, _cell(minutes, 1)]) + " |")
    return "\n".join(lines) if done else ""


def _cell(values: Sequence[float | None], digits: int = 3) -> str:
    """The mean, with the smallest and the largest value of several seeds."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return ""
    mean = f"{statistics.fmean(numbers):.{digits}f}"
    if len(numbers) == 1:
        return mean
    return f"{mean} [{min(numbers):.{digits}f}, {max(numbers):.{digits}f}]"


def _frontier_text(points: Sequence[Point]) -> str:
    best = frontier(points)
    names = [f"{p.name} ({p.at[0]:.3f}, {p.at[1]:.3f})" for p in best]
    on_it = {p.name for p in best}
    tied = [
        f"{p.name} with {q.name}"
        for p in points
        for q in best
        if p.name not in on_it and ties(p.x, q.x) and ties(p.y, q.y)
    ]
    volumes = [f"{name} {hypervolume(group):.3f}" for name, group in _by_setting(points).items()]
    lines = [
        "Frontier of strict success and distinct and valid: " + "; ".join(names) + ".",
        f"Hypervolume of all points {hypervolume(points):.3f}; by setting: "
        + "; ".join(volumes)
        + ".",
    ]
    if tied:
        lines.append("Not told apart from a point of the frontier: " + "; ".join(tied) + ".")
    return "\n\n".join(lines)


def _by_setting(points: Sequence[Point]) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.name.partition(" T=")[0], []).append(point)
    return groups


def _unfinished(rows: Sequence[Row]) -> str:
    lines = [
        f"- {row.setting}, seed {row.seed}: {row.status}"
        + (f" ({row.reason})" if row.reason else "")
        for row in rows
        if row.status in (CUT, FAILED)
    ]
    return "\n".join(["Without a result:", "", *lines]) if lines else ""
