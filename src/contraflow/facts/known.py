"""Which facts an oracle knows: those whose plain question it answers with the original answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contraflow.facts.fact import Fact
from contraflow.text.match import mentions
from contraflow.types import Oracle


def plain_question(fact: Fact) -> str:
    """What to ask to see whether an oracle knows a fact: its own question, else its statement left
    open.
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
    """The facts whose plain question the oracle answers with the original answer, in their order."""
    kept: list[Fact] = []
    for start in range(0, len(facts), 64):
        some = [f for f in facts[start : start + 64] if f.original_answer and plain_question(f)]
        answers = oracle.answer([plain_question(f) for f in some])
        kept += [f for f, a in zip(some, answers, strict=True) if _knows(f, a.text)]
        if on_fact is not None:
            on_fact(len(facts[start : start + 64]))
    return kept


def _knows(fact: Fact, answer: str) -> bool:
    told = mentions(answer, fact.original_answer, fact.aliases)
    return told and not (bool(fact.edited_answer) and mentions(answer, fact.edited_answer))
