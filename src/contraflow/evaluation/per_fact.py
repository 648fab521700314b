"""The per-fact sums from which every metric is computed: rates, means, diversity and balance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from contraflow.evaluation import diversity
from contraflow.evaluation.bootstrap import Array, Statistic, pearson_of_sums, ratio
from contraflow.evaluation.grouping import fact_of
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import Verdict, verdict_of
from contraflow.gflownet.diagnostics import ranks
from contraflow.text.tokens import words

REWARD_PARTS = (
    "log_reward",
    "log_contradiction",
    "log_p_question",
    "log_p_answer",
    "log_entailment",
)

Embed = Callable[[list[str]], Tensor]  # n texts -> [n, d]


class QuestionTable:
    """Records of questions with their verdicts, numbered by fact.

    ``fact`` [n] is the number of each question's fact. Columns of values are [n]; ``known`` [n] is
    1 where a value counts and 0 elsewhere.
    """

    def __init__(self, records: Sequence[QuestionRecord]) -> None:
        self.records = records
        self.verdicts = [verdict_of(record) for record in records]
        facts = dict.fromkeys(fact_of(record) for record in records)
        number = {fact: i for i, fact in enumerate(facts)}
        self.n_facts = len(number)
        self.fact = np.array([number[fact_of(record)] for record in records])

    def statistics(self, embed: Embed | None) -> dict[str, Statistic]:
        """Return the statistic of every metric by name."""
        return self._rates() | self._means() | self._diversity(embed) | self._balance()

    def _rates(self) -> dict[str, Statistic]:
        rates: dict[str, Statistic] = {}
        for name in [*(field.name for field in fields(Verdict)), "valid_contradiction"]:
            values = [float(getattr(verdict, name)) for verdict in self.verdicts]
            rates[name] = self._over_questions(values)
        return rates | {"strict_success": self._strict_rate()}

    def _strict_rate(self) -> Statistic:
        """Rate over the questions whose original answer is known; success needs one."""
        values = [
            float(verdict.strict_success) if record.original_answer else math.nan
            for record, verdict in zip(self.records, self.verdicts, strict=True)
        ]
        return self._over_questions(values)

    def _means(self) -> dict[str, Statistic]:
        means = {name: self._over_questions(self._column(name)) for name in REWARD_PARTS}
        lengths = [len(words(record.question)) for record in self.records]
        return means | {"question_words": self._over_questions(lengths)}

    def _diversity(self, embed: Embed | None) -> dict[str, Statistic]:
        sampled: list[list[str]] = [[] for _ in range(self.n_facts)]
        valid: list[list[str]] = [[] for _ in range(self.n_facts)]
        for fact, record, verdict in zip(self.fact, self.records, self.verdicts, strict=True):
            sampled[fact].append(record.question)
            if verdict.valid_contradiction:
                valid[fact].append(record.question)
        per_fact = {
            "distinct_questions": [diversity.distinct_share(group) for group in sampled],
            "distinct_valid": [
                len(good) * diversity.distinct_share(good) / len(group) if good else 0.0
                for good, group in zip(valid, sampled, strict=True)
            ],
            "self_bleu": [diversity.self_bleu(group) for group in valid],
        }
        for order in (1, 2, 3):
            per_fact[f"distinct_{order}"] = [diversity.distinct_n(group, order) for group in valid]
        per_fact |= _by_embeddings(valid, embed)
        return {name: over_facts(values) for name, values in per_fact.items()}

    def _balance(self) -> dict[str, Statistic]:
        log_reward = self._column("log_reward")
        log_pf = self._column("log_pf")
        known = _flags(np.isfinite(log_reward) & np.isfinite(log_pf))
        x = self._centered(log_reward, known)
        y = self._centered(log_pf, known)
        count = self._sum(known)
        some = count > 1
        variances = np.where(some, self._sum((x - y) ** 2) / np.maximum(count - 1, 1), math.nan)
        of_answers, is_mixed = self._due_to_answers(x - y, known)
        of_answers = np.where(some, of_answers / np.maximum(count - 1, 1), math.nan)
        products = np.stack([self._sum(x * y), self._sum(x * x)], 1)
        return {
            "var_log_ratio": over_facts(variances),
            "var_log_ratio_median": median_over_facts(variances),
            "var_due_to_answers": over_facts(of_answers),
            "mixed_facts": over_facts(np.where(some, is_mixed, math.nan)),
            "slope": Statistic(products, ratio, int(known.sum())),
            "pearson": self._correlation(x, y, known),
            "spearman": self._correlation(_known_ranks(x, known), _known_ranks(y, known), known),
        }

    def _due_to_answers(self, log_ratio: Array, known: Array) -> tuple[Array, Array]:
        """Of each fact, the sum of squares between right and wrong answers, and if it has both.

        Only sound questions count. A right answer is a strict success, and for a fact without an
        original answer a contradiction.
        """
        sound = _flags(
            np.array([v.well_formed and v.on_subject and v.no_leak for v in self.verdicts])
        )
        right = np.array(
            [
                float(v.strict_success if record.original_answer else v.contradiction)
                for record, v in zip(self.records, self.verdicts, strict=True)
            ]
        )
        sizes = [self._sum(known * sound * kind) for kind in (right, 1 - right)]
        means = [
            self._sum(log_ratio * known * sound * kind) / np.maximum(size, 1)
            for kind, size in zip((right, 1 - right), sizes, strict=True)
        ]
        # n_a (m_a - m)² + n_b (m_b - m)² = n_a n_b / (n_a + n_b) · (m_a - m_b)²
        product = sizes[0] * sizes[1] / np.maximum(sizes[0] + sizes[1], 1)
        return product * (means[0] - means[1]) ** 2, _flags(product > 0)

    def _correlation(self, x: Array, y: Array, known: Array) -> Statistic:
        moments = (known, x, y, x * x, y * y, x * y)
        sums = np.stack([self._sum(moment) for moment in moments], 1)
        return Statistic(sums, pearson_of_sums, int(known.sum()))

    def _column(self, name: str) -> Array:
        return np.array([getattr(record, name) for record in self.records], dtype=np.float64)

    def _sum(self, values: Array) -> Array:
        """Sum per fact, [n] -> [facts]."""
        return np.bincount(self.fact, weights=values, minlength=self.n_facts).astype(np.float64)

    def _centered(self, values: Array, known: Array) -> Array:
        """Subtract from each value the mean of its fact; 0 where unknown, which adds to no sum."""
        values = np.where(known > 0, values, 0)
        means = self._sum(values) / np.maximum(self._sum(known), 1)
        return np.where(known > 0, values - means[self.fact], 0)

    def _over_questions(self, values: Sequence[float] | Array) -> Statistic:
        """Mean over the questions whose value is finite."""
        column = np.asarray(values, dtype=np.float64)
        known = _flags(np.isfinite(column))
        sums = np.stack([self._sum(np.where(known > 0, column, 0)), self._sum(known)], 1)
        return Statistic(sums, ratio, int(known.sum()))


def over_facts(values: Sequence[float] | Array) -> Statistic:
    """Mean over the facts whose value is finite."""
    column = np.asarray(values, dtype=np.float64)
    known = np.isfinite(column)
    return Statistic(np.stack([np.where(known, column, 0), known], 1), ratio, int(known.sum()))


def median_over_facts(values: Sequence[float] | Array) -> Statistic:
    """Median over the facts whose value is finite; a resample's weighs each fact by its count."""
    column = np.asarray(values, dtype=np.float64)
    known = np.isfinite(column)
    order = np.argsort(column[known])
    ordered = column[known][order]

    def median(counts: Array) -> Array:
        """Counts of each known fact, [..., k] -> [...]; NaN where all are 0."""
        below = np.cumsum(counts[..., order], axis=-1)
        half = below[..., -1:] / 2
        low = np.argmax(below >= half, axis=-1)
        high = np.argmax(below > half, axis=-1)
        middle = (ordered[low] + ordered[high]) / 2
        return np.where(half[..., 0] > 0, middle, math.nan)

    if not known.any():
        return over_facts(column)
    return Statistic(np.eye(len(column))[:, known], median, int(known.sum()), is_mean=False)


def _by_embeddings(groups: Sequence[Sequence[str]], embed: Embed | None) -> dict[str, list[float]]:
    """Semantic distance and Vendi score per fact, from one call of the encoder."""
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


def _known_ranks(values: Array, known: Array) -> Array:
    """Ranks of the known values among each other, 0 for the others."""
    is_known = known > 0
    found = np.zeros_like(values)
    found[is_known] = ranks(values[is_known])
    return found


def _flags(which: NDArray[np.bool_]) -> Array:
    """1 for True, 0 for False."""
    return which.astype(np.float64)
