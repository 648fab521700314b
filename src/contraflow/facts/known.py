"""Select the facts an oracle knows: it asserts the original answer to their plain question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from contraflow.facts.fact import Fact
from contraflow.text.verdict import AnswerVerdict, answer_verdict

if TYPE_CHECKING:
    from contraflow.types import Oracle

_BATCH_SIZE = 64


def plain_question(fact: Fact) -> str:
    """Return the question that tests whether an oracle knows a fact.

    It is the fact's own question, else `original_fact` with the answer replaced by "what". Empty if
    the answer stands neither at the start nor at the end of `original_fact`.
    """
    if fact.question:
        return fact.question
    stem = fact.original_fact.rstrip(" .")
    if fact.original_answer and stem.endswith(fact.original_answer):
        return stem.removesuffix(fact.original_answer).strip() + " what?"
    if fact.original_answer and stem.startswith(fact.original_answer):
        return "What" + stem.removeprefix(fact.original_answer) + "?"
    return ""


def known_facts(
    facts: Sequence[Fact], oracle: Oracle, on_fact: Callable[[int], None] | None = None
) -> list[Fact]:
    """Return the facts whose plain question the oracle answers with the original answer, in order.

    A denial ("X is not Y.") is no such answer, nor is one that asserts the edited answer too.

    `on_fact` is called after each batch with the number of facts in it, for a progress bar.
    """
    kept: list[Fact] = []
    for start in range(0, len(facts), _BATCH_SIZE):
        batch = facts[start : start + _BATCH_SIZE]
        testable = [fact for fact in batch if fact.original_answer and plain_question(fact)]
        answers = oracle.answer([plain_question(fact) for fact in testable])
        for fact, answer in zip(testable, answers, strict=True):
            if _is_known(fact, answer.text):
                kept.append(fact)
        if on_fact is not None:
            on_fact(len(batch))
    return kept


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
