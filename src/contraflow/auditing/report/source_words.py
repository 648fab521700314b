"""Who found more at an equal number of questions, in words: more, fewer, or a tie."""

from __future__ import annotations

from collections.abc import Mapping

from contraflow.auditing.result import Estimate, SourceComparison


def comparison_text(comparison: SourceComparison, names: Mapping[str, str]) -> str:
    """One sentence: both differences with their intervals, and what they allow to say."""
    first, second = (names.get(s, s) for s in (comparison.first, comparison.second))
    if comparison.failing.value is None:
        return f"{first} against {second}: no edit that both asked about."
    parts = (
        _part(comparison.failing, "failing questions"),
        _part(comparison.modes, "failure modes"),
    )
    said = f"{first} against {second}, after {comparison.at} questions each: {'; '.join(parts)}."
    return said[:1].upper() + said[1:]


def comparison_line(comparison: SourceComparison) -> str:
    """The same on one line of a terminal: the differences and what they allow to say."""
    said = [
        f"{of} {_signed(difference.value, 0)} {verdict(difference)}".rstrip()
        for of, difference in (("failing", comparison.failing), ("modes", comparison.modes))
        if difference.value is not None
    ]
    pair = f"{comparison.first} \u2212 {comparison.second}"
    return f"{pair}, {comparison.at} questions each: {', '.join(said) or 'nothing to compare'}"


def verdict(difference: Estimate) -> str:
    """ "more", "fewer", "a tie" where the interval holds 0, or "" without an interval."""
    if difference.low is None or difference.high is None:
        return ""
    if difference.low > 0:
        return "more"
    return "fewer" if difference.high < 0 else "a tie"


def _part(difference: Estimate, of: str) -> str:
    value, low, high = difference.value, difference.low, difference.high
    if value is None or low is None or high is None:
        return f"{of} {_signed(value or 0.0)} ({difference.note or 'no interval'})"
    return f"{of} {_signed(value)} [{_signed(low)}, {_signed(high)}], {verdict(difference)}"


def _signed(value: float, decimals: int = 1) -> str:
    return f"{value:+.{decimals}f}".replace("-", "\u2212")
