"""A few questions of each fact in proportion to their reward, out of many that a sampler drew.

Sampling-importance-resampling (Rubin 1987) without replacement. A candidate q stands for
R(q) / w(q) of the target p(q) = R(q) / Z, where w is the probability with which it came: its
inclusion probability among different questions (Horvitz and Thompson 1952), or P_F for each of its
plain draws. K of them are kept by the largest sums of this log-weight and Gumbel noise (Kool, van
Hoof and Welling 2019): the first is one draw, each later one a draw from what is left. With all
questions of a fact among the candidates that is exact; with fewer, what did not come cannot be
kept, and a sampler that is far away leaves its mark.

The answers of all candidates have to be paid for. A sampler near its target needs few of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import Float

from contraflow.evaluation.grouping import fact_of
from contraflow.evaluation.records import QuestionRecord
from contraflow.seeding import derived_seed
from contraflow.text.tokens import normalize


@dataclass(frozen=True)
class Candidates:
    """The different questions of one fact with the log of what each stands for, in nats."""

    records: list[QuestionRecord]
    log_weight: Float[np.ndarray, " q"]

    @classmethod
    def of(cls, drawn: Sequence[QuestionRecord]) -> Candidates:
        """Gather the draws of one fact; equal questions become one, with the sum of the weights.

        Questions are equal but for case, punctuation and a leading article.
        """
        found: dict[str, QuestionRecord] = {}
        weight: dict[str, float] = {}
        for record in drawn:
            key = normalize(record.question)
            found.setdefault(key, record)
            weight[key] = float(np.logaddexp(weight.get(key, -math.inf), _log_weight(record)))
        return cls(list(found.values()), np.array(list(weight.values())))

    @property
    def worth(self) -> float:
        """How many equal draws of the target the candidates are worth: (Σ w)² / Σ w² (Kish 1965).

        0 where no candidate has a reward.
        """
        best = self.log_weight.max()
        if best == -math.inf:
            return 0.0
        w = np.exp(self.log_weight - best)
        return float(w.sum() ** 2 / (w**2).sum())

    def kept(self, n: int, rng: np.random.Generator) -> list[QuestionRecord]:
        """At most ``n`` of them, in the order of the draws; one without reward is never kept."""
        perturbed = self.log_weight + rng.gumbel(size=len(self.log_weight))
        order = np.argsort(-perturbed, kind="stable")[:n]
        return [self.records[row] for row in order if self.log_weight[row] > -math.inf]


def in_proportion(
    records: Iterable[QuestionRecord], keep: int, seed: int
) -> Iterator[tuple[Candidates, list[QuestionRecord]]]:
    """Yield the candidates of each fact and at most ``keep`` of them, from a stream.

    Records of one fact must be adjacent. What is kept of a fact depends on its candidates and the
    seed only.
    """
    for fact, group in groupby(records, key=fact_of):
        candidates = Candidates.of(list(group))
        rng = np.random.default_rng(derived_seed(seed, "keep", *fact))
        yield candidates, candidates.kept(keep, rng)


def _log_weight(record: QuestionRecord) -> float:
    """log R less the log-probability of having come; -inf for a reward of 0."""
    if math.isnan(record.log_reward):
        return -math.inf
    came = record.log_pf if record.log_inclusion is None else record.log_inclusion
    return record.log_reward - came
