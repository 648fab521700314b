"""Picture of the schemes: a bar per scheme and number of GPUs shows how all GPUs spend their time,
and the GPU milliseconds per question.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from studies.roofline import PHASES
from studies.scaling_model import Step

COLORS = {
    "generate": "#0b7a6f",
    "answer": "#3b6fb6",
    "judge": "#c77c11",
    "prior": "#8a5fb0",
    "learn": "#b8433f",
    "all that actors do": "#58585a",
    "redundant": "#a9a9ab",
    "idle": "#e2e2e4",
}
TITLE = ": what becomes of all GPUs' time, and GPU milliseconds behind a question"
_LEFT = 210
_BAR = 16
_WIDTH = 620
_TOP = 46


def picture(panels: Sequence[tuple[str, Sequence[Step]]]) -> str:
    """An SVG with one panel per model, one under the other."""
    y = 0
    parts = []
    for name, rows in panels:
        parts.append(_panel(name, rows, y))
        y += _TOP + len(rows) * (_BAR + 6) + 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 90} {y + 34}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}{_legend(y + 12)}</svg>\n"
    )


def shares(step: Step) -> dict[str, float]:
    """Shares of all GPUs' time in an update, which add up to 1: the phases, idle and redundant."""
    whole = step.seconds * step.gpus
    if step.actors:
        learning = (step.gpus - step.actors) * step.waits["learn"] / whole
        return {
            "learn": learning,
            "all that actors do": 1 - step.idle - learning,
            "idle": step.idle,
        }
    on_one = {"broadcast": PHASES, "scatter": ("answer", "judge"), "symmetric": ()}[_family(step)]
    found = {p: step.waits[p] * (1 if p in on_one else step.gpus) / whole for p in PHASES}
    return {**found, "redundant": step.redundant, "idle": step.idle}


def _family(step: Step) -> str:
    return step.scheme.split()[0].rstrip(",")


def _panel(name: str, rows: Sequence[Step], top: float) -> str:
    lines = [f'<text x="10" y="{top + 22}" font-weight="bold">{html.escape(name + TITLE)}</text>']
    for i, step in enumerate(rows):
        ms_per_question = 1e3 * step.gpus / step.questions_per_second
        y = top + _TOP - 12 + i * (_BAR + 6)
        x = float(_LEFT)
        lines.append(
            f'<text x="10" y="{y + 12}">{step.gpus} GPUs, {html.escape(step.scheme)}</text>'
        )
        for phase, share in shares(step).items():
            width = share * _WIDTH
            title = f"<title>{html.escape(phase)}: {share:.0%}</title>"
            lines.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" '
                f'fill="{COLORS[phase]}">{title}</rect>'
            )
            x += width
        lines.append(f'<text x="{x + 6:.1f}" y="{y + 12}">{ms_per_question:.1f} ms</text>')
    return "".join(lines)


def _legend(y: float) -> str:
    marks = []
    x = 10
    for name, color in COLORS.items():
        marks.append(f'<rect x="{x}" y="{y}" width="11" height="11" fill="{color}"/>')
        marks.append(f'<text x="{x + 16}" y="{y + 10}">{html.escape(name)}</text>')
        x += 36 + 7 * len(name)
    return "".join(marks)
