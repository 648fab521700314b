"""Which questions leave: those that pass the checks asked for, each once, at most so many a fact,
the best first.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import Verdict, verdict_of
from contraflow.text.match import normalize

CHECKS = (*(field.name for field in fields(Verdict)), "valid_contradiction")


@dataclass(frozen=True)
class Chosen:
    """A question and what the checks say of it."""

    record: QuestionRecord
    verdict: Verdict


@dataclass(frozen=True)
class Selection:
    """What must hold of a question (names of `CHECKS`), and how many of a fact are wanted."""

    only: tuple[str, ...] = ()
    per_fact: int | None = None
    distinct: bool = True  # up to case, punctuation and a leading article

    def __str__(self) -> str:
        """In words, for a card."""
        parts = [f"only those with {' and '.join(self.only)}"] if self.only else ["all"]
        parts += ["each once a fact"] if self.distinct else []
        parts += (
            [f"at most {self.per_fact} a fact, by log_reward"] if self.per_fact is not None else []
        )
        return ", ".join(parts)


def select(records: Iterable[QuestionRecord], selection: Selection) -> list[Chosen]:
    """The questions that leave: facts in the order they came, of each the highest log_reward first."""
    of_fact: defaultdict[str, list[QuestionRecord]] = defaultdict(list)
    for record in records:
        of_fact[record.fact_id].append(record)
    return [chosen for group in of_fact.values() for chosen in _of_fact(group, selection)]


def best_of_each_fact(records: Iterable[QuestionRecord], keep: int) -> Iterator[QuestionRecord]:
    """At most ``keep`` questions of each fact as they stream by; records of one fact must be
    adjacent.

    What comes out is no longer a sample in proportion to the reward.
    """
    for _, group in groupby(records, key=lambda record: record.fact_id):
        yield from (chosen.record for chosen in _of_fact(list(group), Selection(per_fact=keep)))


def _of_fact(records: Sequence[QuestionRecord], selection: Selection) -> list[Chosen]:
    ordered = sorted(
        records, key=lambda record: -_rank(record.log_reward)
    )  # stable: ties stay as they came
    passed = (
        chosen for chosen in _once(ordered, selection.distinct) if _passes(chosen, selection.only)
    )
    return list(passed)[: selection.per_fact]


def _rank(log_reward: float) -> float:
    return -math.inf if math.isnan(log_reward) else log_reward


def _once(records: Sequence[QuestionRecord], distinct: bool) -> Iterator[Chosen]:
    seen: set[str] = set()
    for record in records:
        key = normalize(record.question)
        if not (distinct and key in seen):
            seen.add(key)
            yield Chosen(record, verdict_of(record))


def _passes(chosen: Chosen, only: Sequence[str]) -> bool:
    return all(getattr(chosen.verdict, name) for name in only)
