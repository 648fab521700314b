"""What the strict test and the judge say of questions: shares by fact, and why they differ.

The judge that trained a run is the only one that the package has. The second opinion is the strict
test, which uses no language model. Two judgments are compared with it: that the answer contradicts
the edited fact, and that it also entails the original one. The reward is made of both. An answer
that names a third thing does contradict the edited fact, so the first may pass what the strict
test fails without anybody gaming the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from contraflow.evaluation.bootstrap import Array
from contraflow.evaluation.grouping import FactOfRecord, by_fact
from contraflow.evaluation.per_fact import QuestionTable
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import LOG_HALF, Verdict, verdict_of
from contraflow.text.match import gives_away, mentions
from contraflow.text.negation import asserted
from contraflow.text.words import without_phrase

Sums = Mapping[FactOfRecord, Array]  # [2] of each fact: what is counted, and out of how many
Measure = Callable[[Sequence[QuestionRecord]], dict[str, Sums]]  # of one run, by name
SUCCESS = {
    "strict_success": "strict",
    "contradiction": "judge: contradicts",
    "valid_contradiction": "valid contradiction",
    "distinct_questions": "distinct",
    "distinct_valid": "distinct and valid",
}


@dataclass(frozen=True)
class Judged:
    """The strict test and the judge on one question."""

    strict: bool
    contradicts: bool
    both: bool  # contradicts the edited fact and entails the original one
    valid: bool  # contradicts, and passes the text checks
    sound: bool  # the question alone passes them

    @classmethod
    def of(cls, record: QuestionRecord) -> Judged:
        """Run every check on a question."""
        v = verdict_of(record)
        return cls(
            strict=v.strict_success,
            contradicts=v.contradiction,
            both=v.contradiction and record.log_entailment > LOG_HALF,
            valid=v.valid_contradiction,
            sound=v.well_formed and v.on_subject and v.no_leak,
        )


@dataclass(frozen=True)
class Share:
    """The mean of a value over the questions that count."""

    value: Callable[[Judged], float]
    counts: Callable[[Judged], bool] = lambda _: True

    def sums(self, group: Sequence[Judged]) -> Array:
        """[2]: the sum of values and the number of questions."""
        values = [self.value(question) for question in group if self.counts(question)]
        return np.array([sum(values), len(values)], dtype=float)


GAPS = ("contradicts - strict", "contradicts and entails - strict", "valid - strict")
JUDGE = {
    "strict": Share(lambda q: q.strict),
    "judge: contradicts": Share(lambda q: q.contradicts),
    "judge: contradicts and entails": Share(lambda q: q.both),
    "contradicts - strict": Share(lambda q: q.contradicts - q.strict),
    "contradicts and entails - strict": Share(lambda q: q.both - q.strict),
    "valid - strict": Share(lambda q: q.valid - q.strict),
    "contradicts, of strict failures": Share(lambda q: q.contradicts, lambda q: not q.strict),
    "contradicts, of sound strict failures": Share(
        lambda q: q.contradicts, lambda q: q.sound and not q.strict
    ),
    "contradicts and entails, of strict failures": Share(lambda q: q.both, lambda q: not q.strict),
    "strict, of contradicts": Share(lambda q: q.strict, lambda q: q.contradicts),
    "strict, of contradicts and entails": Share(lambda q: q.strict, lambda q: q.both),
}

# Why a question fails the strict test: the first that holds, so the order matters.
CAUSES: dict[str, Callable[[QuestionRecord, Verdict], bool]] = {
    "question not well-formed": lambda _, v: not v.well_formed,
    "question not on the subject": lambda _, v: not v.on_subject,
    "question names an answer": lambda r, _: (
        gives_away(r.question, r.original_answer, r.aliases)
        or gives_away(r.question, r.edited_answer)
    ),
    "answer asserts the edited answer": lambda r, _: mentions(
        asserted(without_phrase(r.answer, r.subject)), r.edited_answer
    ),
    "answer denies the edited answer": lambda r, _: mentions(r.answer, r.edited_answer),
    "answer names the original one, not asserted": lambda r, _: mentions(
        r.answer, r.original_answer, r.aliases
    ),
    "answer empty, evasive or broken": lambda _, v: not v.not_degenerate,
    "answer off topic": lambda _, v: not v.on_topic,
    "answer names neither; judge: entails the original": lambda r, _: r.log_entailment > LOG_HALF,
    "answer names neither; judge: does not": lambda *_: True,
}


def success(records: Sequence[QuestionRecord]) -> dict[str, Sums]:
    """The package's metrics of `SUCCESS`, and by how much the judge is above the strict test."""
    found = QuestionTable(records).statistics(None)
    facts = list(by_fact(records))
    metrics: dict[str, Sums] = {
        label: dict(zip(facts, found[name].sums, strict=True)) for name, label in SUCCESS.items()
    }
    return metrics | {name: sums for name, sums in judged(records).items() if name in GAPS}


def judged(records: Sequence[QuestionRecord]) -> dict[str, Sums]:
    """The shares of `JUDGE`."""
    groups = {fact: [Judged.of(r) for r in group] for fact, group in by_fact(records).items()}
    return {
        name: {fact: share.sums(group) for fact, group in groups.items()}
        for name, share in JUDGE.items()
    }


def cause_of(record: QuestionRecord) -> str | None:
    """Why the strict test fails a question that the judge passes; None for all others."""
    verdict = verdict_of(record)
    if verdict.strict_success or not verdict.contradiction:
        return None
    return next(name for name, holds in CAUSES.items() if holds(record, verdict))


def causes(records: Sequence[QuestionRecord]) -> dict[str, Sums]:
    """Of all questions, the share that the judge passes and the strict test fails, by cause."""
    groups = {fact: [cause_of(r) for r in group] for fact, group in by_fact(records).items()}
    return {
        name: {f: np.array([group.count(name), len(group)], float) for f, group in groups.items()}
        for name in CAUSES
    }
