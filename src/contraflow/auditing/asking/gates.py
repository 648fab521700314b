"""Conditions that an audit's numbers rest on; without them a rate means nothing.

Two stop the audit: the edited model answers as the control does, and a control that knows none of
the facts. The others are warnings with their numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from contraflow.auditing.asking.ask import Answers, inquiries
from contraflow.auditing.asking.questions import own_questions
from contraflow.auditing.asking.standing import UNKNOWN, Standing
from contraflow.auditing.outcome.result import Gate
from contraflow.auditing.outcome.rows import Row
from contraflow.errors import UserError
from contraflow.reward.oracle.served.oracle import ServedAnswerer
from contraflow.types import Answer, Answerer, AskStyle

MAX_DEGENERATE = 0.2
MIN_TO_COMPARE = 4
RESTORED = (
    "an editor may have restored its weights: EasyEdit does by default "
    "(restore_after_edit), so its returned model is the unedited one"
)

SERVED_UNEDITED = (
    "the server may not have loaded the edit (vLLM needs --lora-modules edited=ADAPTER), or kept "
    "answers are of the model that it served before: then add a tag, #MODEL@TAG"
)


def check_identities(control: Answerer, edited: Sequence[Answerer], *, in_prompt: bool) -> None:
    """Refuse a null edit before anything is asked.

    in_prompt: the edit is in the prompt, so the weights may be those of the control.

    Raises: UserError when an edited model has the content of the control, or of another one.
    """
    seen = {} if in_prompt else {control.identity: "the control"}
    for model in edited:
        if model.identity in seen:
            raise _null_edit(model, seen[model.identity])
        seen[model.identity] = f"edited={model.name}"


def _null_edit(model: Answerer, other: str) -> UserError:
    if isinstance(model, ServedAnswerer):
        return UserError(
            f"edited={model.name}: its server says the same of it as of {other}; name another "
            "model behind the #, or, if weights were exchanged behind one name or two servers "
            "give one name to two models, add a tag: #MODEL@TAG"
        )
    return UserError(
        f"edited={model.name}: has the same weights as {other}; {RESTORED}; or name another model"
    )


def check_answers_differ(
    name: str, control: Sequence[Answer], edited: Sequence[Answer], *, served: bool = False
) -> Gate:
    """Whether two models answer differently at all, for models whose weights nobody can see.

    served: whether the edited model is a served one, whose server may lack the edit.

    Raises: UserError when all of at least `MIN_TO_COMPARE` answers are equal, and their
    log-likelihoods too where both are known.
    """
    pairs = list(zip(control, edited, strict=True))
    n_changed = sum(a.text != b.text for a, b in pairs)
    # NaN is unequal to itself: only the texts count where a server says no log-likelihood.
    n_other_log_p = sum(abs(a.log_p - b.log_p) > 1e-4 for a, b in pairs)
    if len(pairs) >= MIN_TO_COMPARE and n_changed == 0 and n_other_log_p == 0:
        raise UserError(
            f"edited={name}: answers all {len(pairs)} prompts of the edits exactly as the control "
            f"does; {SERVED_UNEDITED if served else RESTORED}"
        )
    return Gate(
        name="edited differs from control",
        passed=n_changed > 0,
        detail=f"{n_changed} of {len(pairs)} answers to the edits' own prompts changed",
    )


def check_knowledge(standings: Sequence[Standing], style: AskStyle, control: Answers) -> Gate:
    """Whether the control knows the original facts; those that it does not know are not counted.

    control: its answers to the edits' own questions.

    Raises: UserError when no edit is counted, with the reasons.
    """
    n_known, n_edits = sum(standing.is_counted for standing in standings), len(standings)
    reasons = Counter(standing.why_not for standing in standings if standing.why_not)
    if n_known == 0:
        raise UserError(
            f"none of the {n_edits} edits can be counted: {_listed(reasons)}"
            + _example(standings, style, control)
        )
    left_out = f"; not counted: {_listed(reasons)}" if reasons else ""
    return Gate(
        name="control knows the facts",
        passed=n_known == n_edits,
        detail=f"{n_known} of {n_edits} original facts{left_out}",
    )


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{why} ({n})" for why, n in reasons.most_common())


def _example(standings: Sequence[Standing], style: AskStyle, control: Answers) -> str:
    """What the control said of an edit whose original answer it does not tell, and the remedy."""
    unknown = next((one for one in standings if one.why_not == UNKNOWN), None)
    if unknown is None:
        return ""
    texts = [question.text for question in own_questions(unknown.edit)]
    said = [
        f"{text!r}: {control[asked].text!r}"
        for text, asked in zip(texts, inquiries(texts, [style]), strict=True)
    ]
    return (
        f"; asked for {unknown.original_answer!r} it says {', '.join(said[:2]) or 'nothing'}. "
        "Check control= and the original answers, give edits a question or paraphrases, or try "
        "another ask= (a base model may need ask=few_shot)"
    )


def collapse_gate(rows: Sequence[Row], degenerate: float | None, n: int) -> Gate:
    """Whether the edited model still answers other questions in a sound way."""
    if degenerate is None or not n:
        share = sum(row.post == "DEGENERATE" for row in rows) / max(1, len(rows))
        return Gate(
            name="edited model has not collapsed",
            passed=share <= MAX_DEGENERATE,
            detail=f"{share:.0%} of {len(rows)} answers about the edits are degenerate "
            "(no locality questions to ask)",
        )
    return Gate(
        name="edited model has not collapsed",
        passed=degenerate <= MAX_DEGENERATE,
        detail=f"{degenerate:.0%} of {n} locality answers are degenerate",
    )
