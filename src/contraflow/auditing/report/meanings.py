"""What each number of an audit means, in a line, and what the numbers rest on, in plain words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from contraflow.auditing.outcome.result import Estimate, ModelResult, WeightCheck
from contraflow.auditing.report.shown import NO_ESTIMATE, Unit, is_known
from contraflow.auditing.statistics.estimates import proportion

FEW_FAILING = 10.0
LARGE_SHARE = 0.1
FAR_OFF = 0.2  # from 1, of the mean of the edits' sums of weights


@dataclass(frozen=True)
class Measure:
    """A number of an edited model with its label, unit and meaning."""

    name: str
    label: str
    unit: Unit
    meaning: str
    of: Callable[[ModelResult], Estimate]


def locality_kept(model: ModelResult) -> Estimate:
    """Right answers of the control to all locality questions that are still right."""
    kept = [p.kept for p in model.probes if p.kind.startswith("locality")]
    known = [e for e in kept if e.value is not None]
    if not known:
        return Estimate.missing("no estimate: no locality question that the control answers")
    return proportion(round(sum((e.value or 0) * e.n for e in known)), sum(e.n for e in known))


CARDS = (
    Measure(
        "edit_failure",
        "Edit failure",
        "share",
        "Of natural questions that the control answers with the old fact, the share in which the "
        "edited model does not say the new one.",
        lambda m: m.edit_failure,
    ),
    Measure(
        "residual_belief",
        "Residual belief",
        "share",
        "Of the same questions, the share in which the edited model still says the old fact.",
        lambda m: m.residual_belief,
    ),
    Measure(
        "asked_forced",
        "Asked-prompt success",
        "share",
        "What papers report, over all edits: tokens of the new answer that are the most likely "
        "ones when it is forced behind the edit's own prompt.",
        lambda m: m.asked_forced,
    ),
    Measure(
        "audit_gap",
        "Audit gap",
        "points",
        "Of the counted edits: asked-prompt success minus success on natural questions (1 \u2212 "
        "edit failure), what the editor's own score hides.",
        lambda m: m.audit_gap,
    ),
    Measure(
        "discovery",
        "Discovery",
        "per_100",
        "Distinct failing questions per 100 asked: your own, else the trained sampler's, else "
        "those of the first source below. The yield of a search, not a rate of failure.",
        lambda m: m.discovery,
    ),
    Measure(
        "locality_kept",
        "Locality kept",
        "share",
        "Of the control's right answers to questions that the edits should leave alone, the share "
        "that is still right.",
        locality_kept,
    ),
)
MINOR = (
    Measure(
        "asked_free",
        "Own prompt, free answer",
        "share",
        "Edits whose own prompt gets the new answer when the model writes freely.",
        lambda m: m.asked_free,
    ),
    Measure(
        "self_contradiction",
        "Self-contradiction",
        "share",
        "How often two independent questions about one fact get different ones of its two answers.",
        lambda m: m.self_contradiction,
    ),
    Measure(
        "unseen_failures",
        "Unseen failures",
        "share",
        "Probability that the next failing question is one not seen yet (Good\u2013Turing).",
        lambda m: m.unseen_failures,
    ),
    Measure(
        "degenerate",
        "Degenerate answers",
        "share",
        "Locality questions whose answer says nothing; many of them mean a collapsed model.",
        lambda m: m.degenerate,
    ),
)
OF_NATURAL = (
    "The rates are about natural questions as a small language model asks them (P_Q: the sampler "
    "with its adapter off). They are not about the questions of your users, nor about people who "
    "try to break the edit."
)
OF_GIVEN = (
    "The rates are about the given questions, each counted as often as it is given, and about no "
    "others."
)
LIMITS = (
    "An edit failure is not yet an old belief: most failing answers of small models say neither "
    "the old fact nor the new one.",
    "Facts that the control does not tell are listed and not counted: nothing can be said about "
    "what an edit left of them.",
    "Discovery says how well a search finds failures. It must not be read as a rate.",
    "An answer is judged by the names in it, without a language model. A right answer in other "
    "words counts as neither old nor new.",
)


def weights_verdict(weights: WeightCheck) -> str:
    """Whether the rates can be trusted as far as the weights tell, in plain words."""
    if weights.note:
        reason = weights.note.removeprefix(NO_ESTIMATE).lstrip(": ")
        return f"The draws do not support a rate: {reason}."
    if weights.n == 0:
        return "Nothing was drawn, so there is nothing that the rates could rest on."
    if _count_the_same(weights):
        said = f"All {weights.n} questions count the same, so no weight can mislead."
    else:
        error = weights.standard_error or 0.0
        covers = "" if _is_far_off(weights) else "The draws cover the reference: the"
        said = (
            f"{covers or 'The'} weights of an edit add up to "
            f"{weights.mean:.2f} \u00b1 {error:.2f} on average where 1 is due. "
            f"{weights.n} weighted questions say as much as {weights.ess:.0f} equal ones."
        )
    return " ".join([said, *reservations(weights)])


def weights_line(weights: WeightCheck) -> str:
    """The weights in numbers: the mean of their sums, effective numbers."""
    if weights.n == 0:
        return "weights: nothing was drawn"
    if not is_known(weights.mean):
        return (
            f"weights: {weights.n} given questions, each counts the same; of failing ones "
            f"{weights.ess_failing:.0f}"
        )
    return (
        f"weights: {weights.mean:.2f} \u00b1 {weights.standard_error or 0:.2f} an edit (1 is due); "
        f"{weights.n} questions, effective {weights.ess:.0f}, of failing ones "
        f"{weights.ess_failing:.1f}"
    )


def reservations(weights: WeightCheck) -> list[str]:
    """What to bear in mind where the rates rest on few questions."""
    found = []
    if _is_far_off(weights):
        found.append(
            f"The weights of an edit add up to {weights.mean:.2f}, not to 1; of so few edits this "
            "may be chance, or the draws do not cover the reference: raise n=, or audit more edits."
        )
    if 0 < weights.ess_failing < FEW_FAILING:
        found.append(
            f"The failures rest on few questions (effective number {weights.ess_failing:.1f}): "
            "read the intervals, not the values."
        )
    if weights.largest_share > LARGE_SHARE and not _count_the_same(weights):
        found.append(f"One question carries {weights.largest_share:.0%} of all weight.")
    return found


def _is_far_off(weights: WeightCheck) -> bool:
    return is_known(weights.mean) and abs((weights.mean or 0.0) - 1) > FAR_OFF


def _count_the_same(weights: WeightCheck) -> bool:
    """Whether all weights are equal, as those of a person's own questions are."""
    return weights.ess >= weights.n * (1 - 1e-9)
