"""Numbers of an audit as people read them: percentages, points, intervals, "no estimate"."""

from __future__ import annotations

import math
from typing import Literal, TypeGuard

from contraflow.auditing.outcome.result import Estimate, ServedUsage
from contraflow.text.folding import visible

# "points": a difference of two shares, in percentage points. "per_100": already times 100.
Unit = Literal["share", "points", "per_100"]
NO_ESTIMATE = "no estimate"


def number(value: float, unit: Unit = "share") -> str:
    """A number without its unit; small shares keep a digit, so that a few are never shown as 0."""
    if unit == "per_100":
        return _minus(f"{value:.1f}" if abs(value) < 9.95 else f"{value:.0f}")
    scaled = 100 * value
    near_end = unit == "share" and (0 < scaled < 1 or 99 < scaled < 100)
    if near_end and 0.05 <= scaled <= 99.95:
        return f"{scaled:.1f}"
    if near_end:
        return "<0.1" if scaled < 1 else ">99.9"
    return _minus(f"{scaled:.0f}")


def value_text(estimate: Estimate, unit: Unit = "share") -> str:
    """The value with its unit, or "no estimate"."""
    if not is_known(estimate.value):
        return NO_ESTIMATE
    text = number(estimate.value, unit)
    if unit == "points":
        sign = "+" if estimate.value > 0 and text != "0" else ""
        return f"{sign}{text} points"
    return f"{text} per 100" if unit == "per_100" else f"{text} %"


def interval_text(estimate: Estimate, unit: Unit = "share") -> str:
    """The 95 % interval as "[52, 75]", or "" without one. Bounds of shares stay within 0 and 1."""
    low, high = estimate.low, estimate.high
    if not (is_known(low) and is_known(high)):
        return ""
    if unit == "share":
        low, high = max(0.0, low), min(1.0, high)
    return f"[{number(low, unit)}, {number(high, unit)}]"


def full_text(estimate: Estimate, unit: Unit = "share") -> str:
    """Value and interval, or "no estimate" with its reason."""
    if not is_known(estimate.value):
        reason = why(estimate)
        return f"{NO_ESTIMATE} ({reason})" if reason else NO_ESTIMATE
    interval = interval_text(estimate, unit) or (f"({why(estimate)})" if estimate.note else "")
    return f"{value_text(estimate, unit)} {interval}".strip()


def why(estimate: Estimate) -> str:
    """The note of an estimate, without the words "no estimate" in front."""
    return estimate.note.removeprefix(NO_ESTIMATE).lstrip(": ")


def upper_bound(high: float) -> str:
    """An upper bound of a share in percent, rounded up so that it stays a bound."""
    scaled = 100 * high
    return (
        f"{math.ceil(scaled - 1e-9)}" if scaled > 1 else f"{math.ceil(10 * scaled - 1e-9) / 10:g}"
    )


def is_known(value: float | None) -> TypeGuard[float]:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def printable(text: str) -> str:
    """A text on one line, without characters that steer a terminal or turn the line round."""
    return "".join(c if c.isprintable() else " " for c in " ".join(visible(text).split()))


def clipped(text: str, width: int) -> str:
    """A printable text of at most `width` characters."""
    text = printable(text)
    return text if len(text) <= width else f"{text[: width - 1]}\u2026"


def plural(count: int, noun: str) -> str:
    """ "1 fact", "2 facts", "0 queries"."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else many}"


def usage_text(usage: ServedUsage) -> str:
    """What a served model was asked, in one phrase."""
    about = "about " if usage.estimated else ""
    repeated = f" ({usage.retries} repeated)" if usage.retries else ""
    return (
        f"{plural(usage.requests, 'request')}{repeated}, {about}{usage.prompt_tokens} prompt and "
        f"{usage.completion_tokens} answer tokens, {usage.seconds:.0f} s"
    )


def _minus(text: str) -> str:
    text = "0" if text == "-0" else text
    return text.replace("-", "\u2212")
