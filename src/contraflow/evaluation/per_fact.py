"""The per-fact sums behind each metric: rates, means, diversity and balance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from contraflow.evaluation import diversity
from contraflow.evaluation.bootstrap import Array, Statistic, correlation, ratio
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import Verdict, verdict_of
from contraflow.text.match import words

REWARD_PARTS = (
    "log_reward",
    "log_contradiction",
    "log_p_question",
    "log_p_answer",
    "log_entailment",
)

Embed = Callable[[list[str]], Tensor]  # n texts -> [n, d]
T = TypeVar("T")


class QuestionTable:
    """The records with their verdicts, grouped by fact: the sums that every statistic is made of."""

    def __init__(self, records: Sequence[QuestionRecord]) -> None:
        self.records = records
        self.verdicts = [verdict_of(record) for record in records]
        places = {
            fact_id: place
            for place, fact_id in enumerate(dict.fromkeys(r.fact_id for r in records))
        }
        self.n_facts = len(places)
        self.fact = np.array([places[record.fact_id] for record in records])  # [n]

    def statistics(self, embed: Embed | None) -> dict[str, Statistic]:
        """Every metric of the table by name."""
        return self._rates() | self._means() | self._diversity(embed) | self._balance()

    def _rates(self) -> dict[str, Statistic]:
        names = [field.name for field in fields(Verdict)] + ["valid_contradiction"]
        rates = {
            n: self._over_questions([float(getattr(v, n)) for v in self.verdicts]) for n in names
        }
        return rates | {"strict_success": self._strict_rate()}

    def _strict_rate(self) -> Statistic:
        """Over questions whose true answer is known: where it is not, nobody can succeed or fail."""
        pairs = zip(self.records, self.verdicts, strict=True)
        return self._over_questions(
            [float(v.strict_success) if r.original_answer else math.nan for r, v in pairs]
        )

    def _means(self) -> dict[str, Statistic]:
        means = {name: self._over_questions(self._column(name)) for name in REWARD_PARTS}
        lengths = [len(words(record.question)) for record in self.records]
        return means | {"question_words": self._over_questions(lengths)}

    def _diversity(self, embed: Embed | None) -> dict[str, Statistic]:
        drawn = self._by_fact([record.question for record in self.records])
        valid_flags = self._by_fact([verdict.valid_contradiction for verdict in self.verdicts])
        valid = [
            [q for q, ok in zip(*group, strict=True) if ok]
            for group in zip(drawn, valid_flags, strict=True)
        ]
        per_fact = {
            "distinct_questions": [diversity.distinct_share(group) for group in drawn],
            "distinct_valid": [
                len(good) * diversity.distinct_share(good) / len(group) if good else 0.0
                for good, group in zip(valid, drawn, strict=True)
            ],
            "self_bleu": [diversity.self_bleu(group) for group in valid],
        }
        per_fact |= {
            f"distinct_{n}": [diversity.distinct_n(group, n) for group in valid] for n in (1, 2, 3)
        }
        return {
            name: _over_facts(values)
            for name, values in (per_fact | _semantic(valid, embed)).items()
        }

    def _balance(self) -> dict[str, Statistic]:
        log_reward, log_pf = self._column("log_reward"), self._column("log_pf")
        known = _flags(np.isfinite(log_reward) & np.isfinite(log_pf))
        x, y = self._centered(log_reward, known), self._centered(log_pf, known)
        count = self._sum(known)
        variances = np.where(
            count > 1, self._sum((x - y) ** 2) / np.maximum(count - 1, 1), math.nan
        )
        slope = Statistic(
            np.stack([self._sum(x * y), self._sum(x * x)], 1), ratio, int(known.sum())
        )
        return {
            "var_log_ratio": _over_facts(variances),
            "slope": slope,
            "pearson": self._correlation(x, y, known),
            "spearman": self._correlation(_ranks(x, known), _ranks(y, known), known),
        }

    def _correlation(self, x: Array, y: Array, known: Array) -> Statistic:
        moments = [known, x, y, x * x, y * y, x * y]
        return Statistic(
            np.stack([self._sum(moment) for moment in moments], 1), correlation, int(known.sum())
        )

    def _column(self, name: str) -> Array:
        return np.array([getattr(record, name) for record in self.records], dtype=np.float64)

    def _sum(self, values: Array) -> Array:
        """Per-fact sums, [n] -> [facts]."""
        return np.bincount(self.fact, weights=values, minlength=self.n_facts).astype(np.float64)

    def _centered(self, values: Array, known: Array) -> Array:
        """Each value less the mean of its fact; 0 where unknown, so that it adds to no sum."""
        values = np.where(known > 0, values, 0)
        means = self._sum(values) / np.maximum(self._sum(known), 1)
        return np.where(known > 0, values - means[self.fact], 0)

    def _by_fact(self, values: Sequence[T]) -> list[list[T]]:
        groups: list[list[T]] = [[] for _ in range(self.n_facts)]
        for place, value in zip(self.fact, values, strict=True):
            groups[place].append(value)
        return groups

    def _over_questions(self, values: Sequence[float] | Array) -> Statistic:
        """Mean over the questions whose value is finite."""
        column = np.asarray(values, dtype=np.float64)
        known = _flags(np.isfinite(column))
        sums = np.stack([self._sum(np.where(known > 0, column, 0)), self._sum(known)], 1)
        return Statistic(sums, ratio, int(known.sum()))


def _over_facts(values: Sequence[float] | Array) -> Statistic:
    """Mean over the facts whose value is finite."""
    column = np.asarray(values, dtype=np.float64)
    known = np.isfinite(column)
    return Statistic(np.stack([np.where(known, column, 0), known], 1), ratio, int(known.sum()))


def _semantic(groups: Sequence[Sequence[str]], embed: Embed | None) -> dict[str, list[float]]:
    """Distances and Vendi scores per fact; the encoder is called once, for all questions together."""
    texts = list(dict.fromkeys(question for group in groups for question in group))
    if embed is None or not texts:
        unknown = [math.nan] * len(groups)
        return {"embedding_distance": unknown, "vendi": unknown}
    row_of = {text: row for row, text in enumerate(texts)}
    vectors = embed(texts)
    parts = [vectors[[row_of[question] for question in group]] for group in groups]
    return {
        "embedding_distance": [diversity.mean_cosine_distance(part) for part in parts],
        "vendi": [diversity.vendi_score(part) for part in parts],
    }


def _ranks(values: Array, known: Array) -> Array:
    """Average ranks (ties share) of the known values, 0 for the others."""
    flags = known > 0
    _, inverse, counts = np.unique(values[flags], return_inverse=True, return_counts=True)
    ranks = np.zeros_like(values)
    ranks[flags] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _flags(which: NDArray[np.bool_]) -> Array:
    """1 and 0, which can be summed and multiplied."""
    return which.astype(np.float64)
