"""Locality over several kinds, and whether the weights can be trusted, in words."""

import math
from typing import Any

import msgspec

from contraflow.auditing.outcome.result import ModelResult, ProbeRate, WeightCheck
from contraflow.auditing.report.meanings import (
    CARDS,
    MINOR,
    locality_kept,
    weights_line,
    weights_verdict,
)
from contraflow.auditing.statistics.estimates import proportion
from support.audits import made_result


def probe(kind: str, kept: int, right: int) -> ProbeRate:
    rate = proportion(kept, right)
    return ProbeRate(kind=kind, n=right, pre=rate, post=rate, kept=rate)


def model_with(*probes: ProbeRate) -> ModelResult:
    return msgspec.structs.replace(made_result().models[0], probes=probes)


def check(**changes: Any) -> WeightCheck:
    usual = {"mean": 1.02, "standard_error": 0.04, "ess": 80.0, "ess_failing": 30.0}
    return WeightCheck(**usual | {"n": 128, "largest_share": 0.05} | changes)  # type: ignore[arg-type]


def test_locality_pools_all_its_kinds_and_no_other() -> None:
    model = model_with(
        probe("locality/near", 3, 4), probe("locality", 5, 16), probe("portability", 0, 9)
    )
    assert locality_kept(model) == proportion(8, 20)


def test_locality_without_right_answers_is_no_estimate() -> None:
    assert locality_kept(model_with(probe("locality", 0, 0))).value is None
    assert locality_kept(model_with()).note == (
        "no estimate: no locality question that the control answers"
    )


def test_every_measure_reads_a_model() -> None:
    model = made_result().models[0]
    assert all(measure.of(model).n > 0 for measure in (*CARDS, *MINOR))
    assert len({measure.name for measure in (*CARDS, *MINOR)}) == 10


def test_sound_weights_are_explained() -> None:
    assert weights_verdict(check()) == (
        "The draws cover the reference: the weights of an edit add up to 1.02 ± 0.04 on average "
        "where 1 is due. 128 weighted questions say as much as 80 equal ones."
    )


def test_weights_far_from_1_are_not_called_a_cover() -> None:
    """Of two edits, 0.51 ± 0.01 is no proof of anything, and nothing to build on."""
    text = weights_verdict(check(mean=0.51, standard_error=0.01))
    assert "The draws cover the reference" not in text
    assert "add up to 0.51, not to 1" in text and "raise n=" in text
    assert "The draws cover the reference" in weights_verdict(check(mean=1.15))


def test_the_line_of_weights_is_about_their_sum_in_an_edit() -> None:
    assert weights_line(check()).startswith(
        "weights: 1.02 ± 0.04 an edit (1 is due); 128 questions"
    )


def test_few_failures_and_one_heavy_question_are_told() -> None:
    text = weights_verdict(check(ess_failing=4.2, largest_share=0.13))
    assert "(effective number 4.2): read the intervals, not the values." in text
    assert text.endswith("One question carries 13% of all weight.")


def test_a_problem_comes_instead_of_trust() -> None:
    text = weights_verdict(check(note="no estimate: the weights have mean 0.31 where 1 is due"))
    assert text == ("The draws do not support a rate: the weights have mean 0.31 where 1 is due.")
    assert "Nothing was drawn" in weights_verdict(check(n=0, mean=math.nan))


def test_equal_weights_need_no_trust() -> None:
    assert weights_verdict(check(ess=128.0)).startswith("All 128 questions count the same")


def test_given_questions_are_no_draws() -> None:
    """A person's own questions have no mean weight that is due, and none of them is heavy."""
    own = check(n=4, ess=4.0, ess_failing=2.0, mean=None, standard_error=None, largest_share=0.25)
    assert weights_line(own) == (
        "weights: 4 given questions, each counts the same; of failing ones 2"
    )
    assert weights_verdict(own).startswith("All 4 questions count the same")
    assert "of all weight" not in weights_verdict(own)
