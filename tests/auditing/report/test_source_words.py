"""Comparisons of sources in words."""

import pytest

from contraflow.auditing.outcome.result import Estimate, SourceComparison
from contraflow.auditing.report.source_words import comparison_line, comparison_text, verdict


def difference(value: float, low: float | None, high: float | None, note: str = "") -> Estimate:
    return Estimate(value=value, low=low, high=high, n=40, ess=12.0, note=note)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(1.0, 9.0, "more"), (-9.0, -1.0, "fewer"), (-1.0, 9.0, "a tie"), (0.0, 9.0, "a tie")],
)
def test_an_interval_that_holds_zero_is_a_tie(low: float, high: float, said: str) -> None:
    assert verdict(difference((low + high) / 2, low, high)) == said


def test_no_interval_allows_no_verdict() -> None:
    assert verdict(difference(3.0, None, None)) == ""


def comparison(failing: Estimate, modes: Estimate) -> SourceComparison:
    return SourceComparison(first="sampler", second="own", at=40, failing=failing, modes=modes)


def test_both_differences_are_said() -> None:
    found = comparison(difference(12.0, 4.2, 20.0), difference(-1.5, None, None, "few edits"))
    assert comparison_text(found, {"own": "your questions"}) == (
        "Sampler against your questions, after 40 questions each: failing questions "
        "+12.0 [+4.2, +20.0], more; failure modes \u22121.5 (few edits)."
    )
    assert comparison_line(found) == (
        "sampler \u2212 own, 40 questions each: failing +12 more, modes \u22122"
    )


def test_no_edit_in_common_is_said() -> None:
    nothing = comparison(Estimate.missing("none"), Estimate.missing("none"))
    assert "no edit" in comparison_text(nothing, {})
    assert comparison_line(nothing).endswith("nothing to compare")
