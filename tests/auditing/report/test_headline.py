"""The sentence that an audit says about one edited model, in all its forms."""

from typing import Any

import msgspec
import pytest

from contraflow.auditing.outcome.result import Estimate, ModelInfo, ModelResult, SourceYield
from contraflow.auditing.report.headline import headline
from contraflow.auditing.statistics.estimates import wilson
from support.audits import made_result


def share(value: float, low: float, high: float, n: int = 100) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n, ess=float(n))


def model_with(**changes: Any) -> ModelResult:
    """A model of three facts whose failure rate is 64 %."""
    usual: dict[str, Any] = {
        "model": ModelInfo(name="lora", source="lora", identity="1"),
        "edit_failure": share(0.64, 0.52, 0.75),
        "residual_belief": share(0.21, 0.12, 0.33),
        "asked_forced": share(0.98, 0.9, 1.0, n=3),
    }
    return msgspec.structs.replace(made_result().models[0], **usual | changes)


def without_failures(model: ModelResult) -> ModelResult:
    facts = tuple(msgspec.structs.replace(fact, n_failing=0) for fact in model.facts)
    return msgspec.structs.replace(model, facts=facts)


def test_the_usual_form_is_one_sentence() -> None:
    assert headline(model_with()) == (
        "lora: of natural questions whose answer the control knows, 64 % [52, 75] do not get the "
        "new answer and 21 % [12, 33] still get the old one, though the edits' own prompts score "
        "98 %."
    )


def test_a_score_that_hides_nothing_has_no_though() -> None:
    text = headline(model_with(asked_forced=share(0.36, 0.2, 0.5, n=3)))
    assert text.endswith("still get the old one; the edits' own prompts score 36 %.")


def test_a_score_of_other_edits_than_the_rate_says_of_how_many() -> None:
    """Half of six edits are not known to the control: the two numbers do not add up to the gap."""
    text = headline(model_with(asked_forced=share(0.98, 0.9, 1.0, n=6)))
    assert text.endswith(
        ", though the edits' own prompts score 98 % (6 edits; the failure rate is of 3)."
    )


def test_a_free_score_is_not_told_as_the_forced_one() -> None:
    """The line of the forced score says that there is no estimate of it."""
    missing = Estimate.missing("no estimate: no token log-probabilities")
    text = headline(model_with(asked_forced=missing, asked_free=share(0.9, 0.6, 1.0, n=3)))
    assert text.endswith(
        ", though 90 % of the edits' own prompts get the new answer when the model writes freely."
    )
    assert "score" not in text
    text = headline(model_with(asked_forced=missing, asked_free=missing))
    assert text.endswith("still get the old one.")


def test_no_residual_belief_has_its_bound() -> None:
    text = headline(model_with(residual_belief=share(0.0, 0.0, 0.029)))
    assert " and none still gets the old one (at most 3 %), though" in text


def test_zero_failures_of_312_are_at_most_1_percent() -> None:
    low, high = wilson(0.0, 312)
    assert 0.009 < high < 0.01  # 3 / 312
    model = without_failures(model_with(edit_failure=share(0.0, low, high, n=312)))
    assert headline(model) == "lora: none of 312 questions failed: at most 1 % at 95 %."


def test_a_bound_of_100_percent_is_no_bound() -> None:
    model = without_failures(model_with(edit_failure=share(0.0, 0.0, 1.0, n=1)))
    assert headline(model) == "lora: the one question did not fail, too few to bound the rate."
    text = headline(model_with(residual_belief=share(0.0, 0.0, 1.0)))
    assert " and none still gets the old one, though" in text


def test_failures_outside_of_a_zero_rate_are_told() -> None:
    model = without_failures(model_with(edit_failure=share(0.0, 0.0, 0.03, n=96)))
    found = msgspec.structs.replace(model.facts[0], n_failing=2)
    model = msgspec.structs.replace(model, facts=(found, *model.facts[1:]))
    assert headline(model) == (
        "lora: none of 96 questions failed: at most 3 % at 95 %; but 2 questions outside of the "
        "rate (paraphrases, search) failed."
    )


def test_no_estimate_says_why_and_what_was_counted() -> None:
    failure = Estimate.missing("no estimate: the weights have mean 0.31 where 1 is due")
    model = model_with(edit_failure=failure)
    known = sum(fact.n_known for fact in model.facts)
    failing = sum(fact.n_failing for fact in model.facts)
    assert headline(model) == (
        "lora: no estimate of its failures (the weights have mean 0.31 where 1 is due); "
        f"{failing} of the {known} questions asked whose answer the control knows do not get the "
        "new answer."
    )
    assert headline(msgspec.structs.replace(model, facts=())).endswith("where 1 is due).")


def test_one_fact_is_named() -> None:
    model = model_with()
    model = msgspec.structs.replace(model, facts=model.facts[:1])
    text = headline(model)
    assert "of natural questions about the one counted fact (Hamlet) whose answer" in text


def test_a_persons_own_questions_are_not_called_natural() -> None:
    own = SourceYield(
        source="own", n_asked=9, n_failing=3, n_modes=1, per_100=share(33.0, 10.0, 60.0)
    )
    assert headline(model_with(sources=(own,))).startswith("lora: of the given questions whose ")


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\u202eb"])
def test_a_name_cannot_break_the_line(name: str) -> None:
    info = ModelInfo(name=name, source="x", identity="1")
    assert headline(model_with(model=info)).isprintable()
