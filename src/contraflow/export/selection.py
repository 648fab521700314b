"""The selection of questions to export: by checks, without repeats, the best of each fact first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

from contraflow.evaluation.grouping import by_fact, fact_of
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import Verdict, verdict_of
from contraflow.text.tokens import normalize

CHECKS = (*(field.name for field in fields(Verdict)), "valid_contradiction")


@dataclass(frozen=True)
class Chosen:
    """A selected question with its verdict."""

    record: QuestionRecord
    verdict: Verdict


@dataclass(frozen=True)
class Written:
    """What a writer did: the number of its rows, and a reason per fact that it left out."""

    n_rows: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """The checks a question must pass and the number of questions per fact."""

    only: tuple[str, ...] = ()  # names of `CHECKS`
    per_fact: int | None = None
    distinct: bool = True  # ignoring case, punctuation and a leading article

    def __str__(self) -> str:
        """Describe the selection for a card."""
        parts = [f"only those with {' and '.join(self.only)}" if self.only else "all"]
        if self.distinct:
            parts.append("each once a fact")
        if self.per_fact is not None:
            parts.append(f"at most {self.per_fact} a fact, by log_reward")
        return ", ".join(parts)


def select(records: Iterable[QuestionRecord], selection: Selection) -> list[Chosen]:
    """Return the selection: facts in their order, per fact the highest log_reward first."""
    chosen: list[Chosen] = []
    for group in by_fact(records).values():
        chosen += _of_fact(group, selection)
    return chosen


def why_nothing_is_left(records: Sequence[QuestionRecord], only: Sequence[str]) -> str:
    """Say why no question passes the checks of `only`, and what to do."""
    if not records:
        return "is empty; make a file of questions with `contraflow generate`"
    if "strict_success" in only and not any(record.original_answer for record in records):
        return (
            f"none of its {len(records)} questions has an original_answer, which strict_success "
            "looks for in the answer; give the facts one and generate again, or name other checks "
            "with only="
        )
    verdicts = [verdict_of(record) for record in records]
    counts = [f"{sum(getattr(v, name) for v in verdicts)} pass {name}" for name in only]
    return (
        f"none of its {len(records)} questions is left ({', '.join(counts)}); require fewer checks "
        "with only=, or sample more with `contraflow generate`"
    )


def best_of_each_fact(records: Iterable[QuestionRecord], keep: int) -> Iterator[QuestionRecord]:
    """Yield at most ``keep`` questions of each fact from a stream.

    Records of one fact must be adjacent. The result is not a sample in proportion to the reward.
    """
    selection = Selection(per_fact=keep)
    for _, group in groupby(records, key=fact_of):
        for chosen in _of_fact(list(group), selection):
            yield chosen.record


def _of_fact(records: Sequence[QuestionRecord], selection: Selection) -> list[Chosen]:
    """Select among the questions of one fact; the sort is stable, so ties keep their order."""
    ordered = sorted(records, key=_sort_key, reverse=True)
    candidates = _with_verdicts(ordered, selection.distinct)
    passed = [chosen for chosen in candidates if _passes(chosen, selection.only)]
    return passed[: selection.per_fact]


def _sort_key(record: QuestionRecord) -> float:
    """log R, with NaN below every number."""
    return -math.inf if math.isnan(record.log_reward) else record.log_reward


def _with_verdicts(records: Sequence[QuestionRecord], distinct: bool) -> Iterator[Chosen]:
    """Run the checks on each question, or on the first of equal questions if ``distinct``."""
    seen: set[str] = set()
    for record in records:
        key = normalize(record.question)
        if not (distinct and key in seen):
            seen.add(key)
            yield Chosen(record, verdict_of(record))


def _passes(chosen: Chosen, only: Sequence[str]) -> bool:
    return all(getattr(chosen.verdict, name) for name in only)
