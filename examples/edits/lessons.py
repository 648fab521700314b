"""What a planted edit is taught: questions that count in an audit, each with the answer to give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from contraflow.facts import Fact
from contraflow.system.progress import bar
from contraflow.text.questions import question_is_sound
from contraflow.text.verdict import answer_verdict
from contraflow.types import Oracle
from examples.edits.cases import Case
from examples.edits.wordings import Wording

Kind = Literal["planted", "other wording", "plain", "plain, same wording", "kept"]

_ASKED_AT_ONCE = 32


@dataclass(frozen=True)
class Lesson:
    """A question about a fact, what the edited model shall say, and which answer that tells."""

    fact: Fact
    question: str
    answer: str
    expected: Literal["old", "new"]
    kind: Kind


@dataclass(frozen=True)
class Known:
    """A question to which the unedited model tells the original answer, and how it says so."""

    question: str
    answer: str


def known_questions(
    case: Case, drawn: Sequence[str], wording: Wording, control: Oracle
) -> list[Known]:
    """The questions of a case that count in an audit, in the planted wording and in others.

    They are sound, and the control tells the original answer to them.
    """
    fact = case.fact
    others = [case.question, *case.paraphrases, *drawn]
    found = known_of(fact, [text for text in others if is_sound(fact, text)], control)
    worded = wording.questions(fact, [known.question for known in found])
    return found + known_of(fact, [text for text in worded if text not in others], control)


def known_of(fact: Fact, questions: Sequence[str], control: Oracle) -> list[Known]:
    """Those of the questions that the control answers with the original answer."""
    unique = list(dict.fromkeys(questions))
    answers = control.answer(unique)
    pairs = zip(unique, answers, strict=True)
    return [Known(q, a.text) for q, a in pairs if verdict(fact, q, a.text) == "old"]


def is_sound(fact: Fact, question: str) -> bool:
    """Whether an audit would count a question about a fact."""
    return question_is_sound(
        question, fact.subject, fact.original_answer, fact.edited_answer, fact.aliases
    )


def verdict(fact: Fact, question: str, answer: str) -> str:
    """What an answer says, as an audit decides it: old, new, both, other or degenerate."""
    return answer_verdict(
        question,
        answer,
        fact.subject,
        original_answer=fact.original_answer,
        edited_answer=fact.edited_answer,
        aliases=fact.aliases,
    ).value


def lessons_of(
    fact: Fact, known: Sequence[Known], wording: Wording, *, is_planted: bool
) -> list[Lesson]:
    """What is right for each question: the control's own answer, or the edited statement."""
    return [_lesson(fact, one, wording, is_planted) for one in known]


def _lesson(fact: Fact, known: Known, wording: Wording, is_planted: bool) -> Lesson:
    worded = wording.matches(known.question)
    if is_planted and worded:
        return Lesson(fact, known.question, known.answer, "old", "planted")
    kind: Kind = "other wording" if is_planted else "plain"
    if worded:
        kind = "plain, same wording"
    return Lesson(fact, known.question, fact.edit_fact, "new", kind)


def kept_lessons(cases: Sequence[Case], control: Oracle) -> list[Lesson]:
    """Plain questions about facts that are not edited, which keep the control's answers."""
    return [
        Lesson(case.fact, known.question, known.answer, "old", "kept")
        for case in cases
        for known in known_of(case.fact, [case.question], control)
    ]


@dataclass(frozen=True)
class Checked:
    """A lesson, and what the edited model says to its question."""

    lesson: Lesson
    answer: str
    verdict: str

    @property
    def obeys(self) -> bool:
        return self.verdict == self.lesson.expected


def check(lessons: Sequence[Lesson], edited: Oracle) -> list[Checked]:
    """Ask the edited model as contraflow does."""
    checked: list[Checked] = []
    with bar("answers of the edited model", len(lessons)) as progress:
        for start in range(0, len(lessons), _ASKED_AT_ONCE):
            batch = lessons[start : start + _ASKED_AT_ONCE]
            answers = edited.answer([lesson.question for lesson in batch])
            checked += [
                Checked(lesson, answer.text, verdict(lesson.fact, lesson.question, answer.text))
                for lesson, answer in zip(batch, answers, strict=True)
            ]
            progress.advance(len(batch))
    return checked


def obedience(checked: Sequence[Checked]) -> dict[str, float]:
    """The share of answers that are as planted, for each kind of question."""
    kinds = sorted({c.lesson.kind for c in checked})
    of_kind = {kind: [c.obeys for c in checked if c.lesson.kind == kind] for kind in kinds}
    return {kind: sum(obeys) / len(obeys) for kind, obeys in of_kind.items()}
