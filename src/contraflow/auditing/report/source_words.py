"""What is to be said about sources in words: who found more, and what was no question."""

from __future__ import annotations

from collections.abc import Mapping

from contraflow.auditing.outcome.result import Continuations, Estimate, SourceComparison


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


def continuations_text(found: Continuations, names: Mapping[str, str]) -> str:
    """How many of a source's texts are no questions, and how many of those fail."""
    name = names.get(found.source, found.source)
    return (
        f"{name[:1].upper()}{name[1:]}: {found.n_continuations} of {found.n_given} are texts to be "
        "continued, not questions, and in no rate and no comparison; the control continues "
        f"{found.n_known} of them with the old answer, the edited model {found.n_failing} of these "
        "without the new one."
    )


def continuations_line(found: Continuations) -> str:
    """The same on one line of a terminal."""
    return (
        f"{found.source}: {found.n_continuations} of {found.n_given} to be continued, no questions "
        f"(in no rate): {found.n_known} known, {found.n_failing} failing"
    )


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
