"""One fact's target, estimated from questions that were drawn from the prior.

The target is p(q) = R(q) / Z. Questions are drawn from the untrained sampler without replacement,
each with its inclusion probability pi(q) (`policy.distinct`), so that Σ R(q) h(q) / pi(q) over the
sample is an unbiased estimate of Σ R(q) h(q) over all questions (Horvitz and Thompson 1952). With
h = 1 it estimates Z, and then p(q) of each drawn question is known up to the error of Z:

    mean of h                     Σ p h / pi
    different among n draws       Σ (1 - (1 - p)^n) / pi, and over the valid ones only
    Vendi score of the valid      a simulation of n draws

The weights u = p / pi add up to 1. They count like 1 / Σ u² (1 - pi) equal draws: a question that
was surely drawn adds no error. As with every importance weight, a region of high reward that the
prior hardly reaches would not be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from contraflow.evaluation.diversity import same_text_key
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import verdict_of

MOST = 1e6  # effective draws of a sample that holds (nearly) all of the target


@dataclass(frozen=True)
class WeightedFact:
    """The drawn questions of one fact.

    p: target probability of each. included: its probability of being drawn. text: the number of
    its text; equal for spellings that differ in case and punctuation only.
    """

    p: Float[np.ndarray, " q"]
    included: Float[np.ndarray, " q"]
    text: Int[np.ndarray, " q"]
    strict: Bool[np.ndarray, " q"]
    valid: Bool[np.ndarray, " q"]

    @classmethod
    def of(cls, records: Sequence[QuestionRecord]) -> WeightedFact:
        """Weigh the questions of one fact, drawn without replacement at temperature 1.

        Raises: ValueError for records that have no inclusion probability.
        """
        if any(record.log_inclusion is None for record in records):
            raise ValueError("the questions must be drawn without replacement")
        number: dict[tuple[str, ...], int] = {}
        keys = [same_text_key(record.question) for record in records]
        verdicts = [verdict_of(record) for record in records]
        return cls.weighed(
            log_reward=np.array([record.log_reward for record in records]),
            log_included=np.array([record.log_inclusion for record in records]),
            text=np.array([number.setdefault(key, len(number)) for key in keys]),
            strict=np.array([verdict.strict_success for verdict in verdicts]),
            valid=np.array([verdict.valid_contradiction for verdict in verdicts]),
        )

    @classmethod
    def weighed(
        cls,
        log_reward: Float[np.ndarray, " q"],
        log_included: Float[np.ndarray, " q"],
        text: Int[np.ndarray, " q"],
        strict: Bool[np.ndarray, " q"],
        valid: Bool[np.ndarray, " q"],
    ) -> WeightedFact:
        """Normalize the target by the sample's estimate of Z.

        A log_reward that is -inf, or NaN as files keep it, is a reward of 0. Where all are, there
        is no target, and the weights are worth nothing.
        """
        log_reward = np.where(np.isnan(log_reward), -np.inf, log_reward)
        log_z = np.logaddexp.reduce(log_reward - log_included)
        p = np.exp(log_reward - log_z) if np.isfinite(log_z) else np.zeros(len(log_reward))
        return cls(p, np.exp(log_included), text, strict, valid)

    @property
    def weight(self) -> Float[np.ndarray, " q"]:
        """The share of the target that each question stands for; they add up to 1."""
        return np.asarray(self.p / self.included)

    @property
    def size(self) -> float:
        """How many equal draws the weights are worth; at most `MOST`, 0 without a target."""
        if not self.p.any():
            return 0.0
        variance = float(np.sum(self.weight**2 * (1 - self.included)))
        return min(MOST, 1 / variance) if variance > 0 else MOST

    def mean(self, values: Bool[np.ndarray, " q"]) -> float:
        """The target's mean of a number of each question."""
        return float(self.weight @ values)

    def different(self, n: int, counted: Bool[np.ndarray, " q"] | None = None) -> float:
        """Expected number of different texts among n draws of the target, over n.

        counted: which questions count; all by default.
        """
        p_text = np.bincount(self.text, weights=self.p)[self.text]
        # Spellings share what their text adds; np.expm1 keeps small probabilities exact.
        of_text = -np.expm1(n * np.log1p(-np.minimum(p_text, 1 - 1e-12)))
        # A reward that underflows to 0 has nothing to add.
        per_p = np.divide(of_text, p_text, out=np.zeros_like(p_text), where=p_text > 0)
        added = per_p * self.weight
        return float(np.sum(added if counted is None else added * counted)) / n

    def draws(self, n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
        """Simulate n draws of the target; equal rows are equal questions.

        A question stands for itself and for questions like it that were not drawn. A draw of one
        of those gets an unused row of the same validity, where there is one.
        """
        rows = rng.choice(len(self.p), n, p=self.weight / self.weight.sum())
        is_itself = rng.random(n) < self.included[rows]
        used = set(rows[is_itself].tolist())
        for i in np.flatnonzero(~is_itself):
            rows[i] = self._unused(int(rows[i]), used, rng)
            used.add(int(rows[i]))
        return rows

    def _unused(self, row: int, used: set[int], rng: np.random.Generator) -> int:
        if row not in used:
            return row
        weight = np.where(self.valid == self.valid[row], self.weight, 0.0)
        weight[list(used)] = 0.0
        total = weight.sum()
        return int(rng.choice(len(weight), p=weight / total)) if total > 0 else row
