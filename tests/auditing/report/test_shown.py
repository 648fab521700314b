"""How numbers of an audit are written."""

import math

import pytest

from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.report.shown import (
    clipped,
    full_text,
    interval_text,
    number,
    plural,
    printable,
    upper_bound,
    value_text,
)


def estimate(
    value: float | None, low: float | None, high: float | None, note: str = ""
) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=10, ess=10.0, note=note)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0"),
        (0.0004, "<0.1"),
        (0.004, "0.4"),
        (0.64, "64"),
        (0.995, "99.5"),
        (0.9999, ">99.9"),
        (1.0, "100"),
    ],
)
def test_few_is_never_shown_as_none_nor_most_as_all(share: float, text: str) -> None:
    assert number(share) == text


def test_a_share_has_its_interval_in_percent() -> None:
    assert full_text(estimate(0.64, 0.52, 0.75)) == "64 % [52, 75]"


def test_bounds_of_a_share_stay_within_0_and_1() -> None:
    assert interval_text(estimate(0.9, -0.2, 1.3)) == "[0, 100]"


def test_a_difference_has_a_sign_and_is_in_points() -> None:
    assert full_text(estimate(0.62, 0.5, 0.73), "points") == "+62 points [50, 73]"
    assert full_text(estimate(-0.62, -0.7, -0.5), "points") == "−62 points [−70, −50]"
    assert value_text(estimate(-0.001, None, None), "points") == "0 points"


def test_a_yield_keeps_a_digit_where_it_is_small() -> None:
    assert full_text(estimate(4.25, 1.0, 12.5), "per_100") == "4.2 per 100 [1.0, 12]"


@pytest.mark.parametrize("value", [None, math.nan])
def test_no_number_is_no_estimate_and_says_why(value: float | None) -> None:
    missing = estimate(value, None, None, "no estimate: nothing was drawn")
    assert value_text(missing) == "no estimate"
    assert full_text(missing) == "no estimate (nothing was drawn)"
    assert interval_text(missing) == ""


def test_a_value_without_interval_says_why() -> None:
    alone = estimate(0.5, None, None, "one edit: no interval")
    assert full_text(alone) == "50 % (one edit: no interval)"


@pytest.mark.parametrize(
    ("high", "text"), [(0.0096, "1"), (0.0101, "2"), (0.01, "1"), (0.0031, "0.4"), (0.09, "9")]
)
def test_an_upper_bound_is_rounded_up(high: float, text: str) -> None:
    assert upper_bound(high) == text


def test_a_text_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31m\nb\u202ec") == "a [31m bc"  # the mark turns the line round
    assert clipped("abcdef", 4) == "abc…"
    assert clipped("abcd", 4) == "abcd"


def test_counts_have_their_noun() -> None:
    assert [plural(1, "fact"), plural(2, "fact"), plural(0, "query")] == [
        "1 fact",
        "2 facts",
        "0 queries",
    ]
