"""What the control says about each edit: the original answer, and whether it knows it.

An audit asks about an original fact only where the control tells it; by the edited model instead,
exactly the failed edits would be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contraflow.auditing.asking.ask import Answers, inquiries, verdict
from contraflow.auditing.asking.originals import shared_answer
from contraflow.auditing.asking.questions import own_questions
from contraflow.facts.edit import Edit
from contraflow.text.match import gives_away, same_answer
from contraflow.types import AskStyle

NO_NEW_ANSWER = "the edit has no edited_answer, so no answer can be judged"
NO_ORIGINAL = "no original answer in the file, and the control's answers do not agree on one"
NO_CHANGE = "the edited answer is the original answer or an alias of it, so nothing was edited"
ALREADY_NEW = "the control gives the edited answer already, so nothing was edited"
UNKNOWN = "the control does not tell the original answer"


@dataclass(frozen=True)
class Standing:
    """An edit before anything is asked of the edited model.

    original_from: "file", "control" or "". why_not: why it is not counted; empty where it is.
    """

    edit: Edit
    original_answer: str
    original_from: str
    why_not: str

    @property
    def is_counted(self) -> bool:
        """Whether the rates are about it."""
        return not self.why_not


def standing_of(edit: Edit, style: AskStyle, control: Answers) -> Standing:
    """Find the original answer of an edit, and whether the control tells it to a prompt of its own.

    control: its answers to the edit's own questions, in the given style.
    """
    if not edit.fact.edited_answer:
        return Standing(edit, edit.fact.original_answer, "file", NO_NEW_ANSWER)
    texts = [question.text for question in own_questions(edit)]
    answers = [control[inquiry].text for inquiry in inquiries(texts, [style])]
    if edit.fact.original_answer:
        original, source = edit.fact.original_answer, "file"
    else:
        original, source = shared_answer(texts, answers), "control"
    if not original:
        return Standing(edit, "", "", NO_ORIGINAL)
    if why_not := _no_change(edit, original, source, answers):
        return Standing(edit, original, source, why_not)
    tells = any(
        verdict(edit, original, text, answer) == "OLD"
        for text, answer in zip(texts, answers, strict=True)
    )
    return Standing(edit, original, source, "" if tells else UNKNOWN)


def _no_change(edit: Edit, original: str, source: str, answers: Sequence[str]) -> str:
    """Why an edit would change nothing; empty where it does."""
    new = (edit.fact.edited_answer, *edit.edited_aliases)
    old = (original, *edit.fact.aliases)
    if any(same_answer(name, other) for name in new for other in old):
        return NO_CHANGE
    # What the answers share can be longer than the answer: "January 2020" where 2020 is taught.
    if source == "control" and all(gives_away(text, new[0], new[1:]) for text in answers):
        return ALREADY_NEW
    return ""


def counted(standings: Sequence[Standing]) -> list[Standing]:
    """The edits that the rates are about."""
    return [standing for standing in standings if standing.is_counted]
