"""Select the facts an oracle knows: it asserts the original answer to their plain question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from contraflow.facts.fact import Fact
from contraflow.facts.plain_answers import PlainAnswers
from contraflow.text.verdict import AnswerVerdict, answer_verdict

if TYPE_CHECKING:
    from contraflow.types import Oracle

_BATCH_SIZE = 64


def plain_question(fact: Fact) -> str:
    """Return the question that tests whether an oracle knows a fact.

    It is the fact's own question, else `original_fact`, or without one `edit_fact`, with its answer
    replaced by "what". Empty if the answer stands neither at the start nor at the end of it.
    """
    if fact.question:
        return fact.question
    if fact.original_fact:
        return _asking_what(fact.original_fact, fact.original_answer)
    return _asking_what(fact.edit_fact, fact.edited_answer)


def _asking_what(statement: str, answer: str) -> str:
    """The statement with "what" in place of its answer, where that is the first or last words."""
    stem = statement.rstrip(" .")
    before, after = stem.removesuffix(answer), stem.removeprefix(answer)
    if before != stem and before[-1:].isspace():
        return before.strip() + " what?"
    if after != stem and after[:1].isspace():
        return "What" + after + "?"
    return ""


def known_facts(
    facts: Sequence[Fact],
    oracle: Oracle,
    on_fact: Callable[[int], None] | None = None,
    remembered: PlainAnswers | None = None,
) -> list[Fact]:
    """Return the facts whose plain question the oracle answers with the original answer, in order.

    A denial ("X is not Y.") is no such answer, nor is one that asserts the edited answer too.

    `on_fact` is called after each batch with the number of facts in it, for a progress bar.
    Questions that are in `remembered` are not asked again, and new answers are added to it.
    """
    kept: list[Fact] = []
    for start in range(0, len(facts), _BATCH_SIZE):
        batch = facts[start : start + _BATCH_SIZE]
        testable = [fact for fact in batch if fact.original_answer and plain_question(fact)]
        answers = _answers([plain_question(fact) for fact in testable], oracle, remembered)
        for fact, answer in zip(testable, answers, strict=True):
            if _is_known(fact, answer):
                kept.append(fact)
        if on_fact is not None:
            on_fact(len(batch))
    return kept


def _answers(
    questions: Sequence[str], oracle: Oracle, remembered: PlainAnswers | None
) -> list[str]:
    """The answer to each question, in order; only those that are not remembered are asked."""
    if remembered is None:
        return [answer.text for answer in oracle.answer(questions)]
    new = [q for q in dict.fromkeys(questions) if remembered.get(q) is None]
    if new:
        asked = zip(new, oracle.answer(new), strict=True)
        remembered.add({question: answer.text for question, answer in asked})
    return [remembered.get(question) or "" for question in questions]


def _is_known(fact: Fact, answer: str) -> bool:
    """Whether the answer asserts the original answer and not the edited one."""
    verdict = answer_verdict(
        plain_question(fact),
        answer,
        fact.subject,
        original_answer=fact.original_answer,
        edited_answer=fact.edited_answer,
        aliases=fact.aliases,
    )
    return verdict is AnswerVerdict.OLD
