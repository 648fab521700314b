"""The sentence that an audit says about one edited model."""

from __future__ import annotations

from contraflow.auditing.outcome.result import Estimate, ModelResult
from contraflow.auditing.report.reference import reference
from contraflow.auditing.report.shown import (
    full_text,
    is_known,
    plural,
    printable,
    upper_bound,
    value_text,
    why,
)

# A score this near to the natural success rate hides nothing.
SAME = 0.02


def headline(model: ModelResult) -> str:
    """One sentence in plain text: failure rate, residual belief, the edits' own score."""
    return f"{printable(model.model.name)}: {_claim(model)}."


def _claim(model: ModelResult) -> str:
    failure = model.edit_failure
    if not is_known(failure.value):
        return _without_estimate(model)
    if failure.value == 0:
        return f"{_no_failure(model)}{_found_elsewhere(model)}"
    return (
        f"of {_questions(model)} whose answer the control knows, {full_text(failure)} do not get "
        f"the new answer{_residual(model.residual_belief)}{_own_prompts(model)}"
    )


def _without_estimate(model: ModelResult) -> str:
    reason = why(model.edit_failure)
    because = f" ({printable(reason)})" if reason else ""
    known = sum(fact.n_known for fact in model.facts if fact.counted)
    if not known:
        return f"no estimate of its failures{because}"
    failing = sum(fact.n_failing for fact in model.facts if fact.counted)
    return (
        f"no estimate of its failures{because}; {failing} of the {known} questions asked whose "
        "answer the control knows do not get the new answer"
    )


def _no_failure(model: ModelResult) -> str:
    failure = model.edit_failure
    bound = _bound(failure.high)
    if failure.n == 1:
        return f"the one question{_about_one(model)} did not fail{bound}"
    return f"none of {plural(failure.n, 'question')}{_about_one(model)} failed{bound}"


def _bound(high: float | None) -> str:
    """What the interval says of a rate of 0; one that reaches 100 % says nothing."""
    if high is None:
        return ""
    percent = upper_bound(high)
    return ", too few to bound the rate" if percent == "100" else f": at most {percent} % at 95 %"


def _found_elsewhere(model: ModelResult) -> str:
    """Failures among questions that carry no weight, as paraphrases and those of a search."""
    found = sum(fact.n_failing for fact in model.facts if fact.counted)
    if not found:
        return ""
    return f"; but {plural(found, 'question')} outside of the rate (paraphrases, search) failed"


def _questions(model: ModelResult) -> str:
    return f"{reference(model)}{_about_one(model)}"


def _about_one(model: ModelResult) -> str:
    counted = [fact for fact in model.facts if fact.counted]
    return (
        f" about the one counted fact ({printable(counted[0].subject)})"
        if len(counted) == 1
        else ""
    )


def _residual(residual: Estimate) -> str:
    if not is_known(residual.value):
        return ""
    if residual.value == 0:
        percent = "100" if residual.high is None else upper_bound(residual.high)
        bound = f" (at most {percent} %)" if percent != "100" else ""
        return f" and none still gets the old one{bound}"
    return f" and {full_text(residual)} still get the old one"


def _own_prompts(model: ModelResult) -> str:
    """The score on the edits' own prompts; "though" only where it hides the failures.

    The free answers where nobody can read the forced one, called by another name than that.
    """
    forced, free = model.asked_forced, model.asked_free
    is_forced = is_known(forced.value)
    score, failure = forced if is_forced else free, model.edit_failure.value
    if not (is_known(score.value) and is_known(failure)):
        return ""
    said = (
        f"the edits' own prompts score {value_text(score)}"
        if is_forced
        else f"{value_text(score)} of the edits' own prompts get the new answer when the model "
        "writes freely"
    )
    hides = score.value > 1 - failure + SAME
    return f"{', though' if hides else ';'} {said}{_of_which(score.n, model)}"


def _of_which(n_prompts: int, model: ModelResult) -> str:
    """How many edits the score is of, where the rate is of others: the two do not add up then."""
    n_rated = sum(is_known(fact.edit_failure.value) for fact in model.facts if fact.counted)
    if n_prompts == n_rated:
        return ""
    return f" ({plural(n_prompts, 'edit')}; the failure rate is of {n_rated})"
