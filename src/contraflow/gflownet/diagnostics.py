"""Diagnostics of the sampler from log R and log P_F of a batch.

Pure functions on arrays in host memory; independent of the model. A step has some ten numbers per
question, and on a GPU every operation on them would be a kernel, every result a wait for it.
``group`` is the number of each question's fact. Every quantity is computed within a fact, since
each has its own Z, and averaged over facts. With w = R / P_F of questions sampled from P_F:

    ELBO      E[log w] ≤ log Z               how much of the target the samples cover
    log Ẑ     log E[w]                       Monte Carlo estimate of log Z
    EUBO      E[w log w] / E[w] ≥ log Z      samples reweighted to the target (Blessing et al. 2024)
    ESS       (Σ w)² / (n Σ w²)              effective sample size over n; 1 for exact sampling

At the optimum the first three are equal, Var(log w) = 0, and log P_F follows log R with slope 1. A
tempered or replayed batch is not a sample of P_F, so its ELBO and EUBO are no bounds on log Z; the
logged share of replayed questions shows which batches these are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True)
class Health:
    """Means over the facts of a batch; NaN if no fact has enough distinct questions."""

    elbo: float
    log_z_mc: float
    eubo: float
    ess: float
    slope: float
    rank_correlation: float
    fcs: float
    prefix_entropy: float
    length_reward_correlation: float

    def as_dict(self) -> dict[str, float]:
        """Return the metrics by name."""
        return asdict(self)


def health(
    log_reward: Float[ndarray, " b"],
    log_pf: Float[ndarray, " b"],
    group: Int[ndarray, " b"],
    questions: Sequence[Sequence[Hashable]],
    rng: torch.Generator,
) -> Health:
    """Return all diagnostics of a batch.

    Args:
        log_reward: log R of each question, in nats.
        log_pf: log P_F of each question, its stop included, in nats.
        group: the fact of each question.
        questions: the tokens (ids or words) of each question.
        rng: samples the subsets of `subset_distance`.
    """
    log_w = log_reward - log_pf
    lengths = np.array([len(question) for question in questions], dtype=np.float64)
    members = _rows_of_facts(group)
    distinct = [_distinct(questions, rows) for rows in members]
    return Health(
        elbo=_mean(float(log_w[rows].mean()) for rows in members),
        log_z_mc=_mean(_log_z_mc(log_w[rows]) for rows in members),
        eubo=_mean(float((_softmax(log_w[rows]) * log_w[rows]).sum()) for rows in members),
        ess=_mean(effective_share(log_w[rows]) for rows in members),
        slope=slope(log_reward, log_pf, group),
        rank_correlation=_mean(
            rank_correlation(log_reward[rows], log_pf[rows]) for rows in distinct
        ),
        fcs=_mean(subset_distance(log_reward[rows], log_pf[rows], rng) for rows in distinct),
        prefix_entropy=_mean(prefix_entropy([questions[r] for r in rows]) for rows in members),
        length_reward_correlation=_mean(correlation(lengths[r], log_reward[r]) for r in distinct),
    )


def log_z_gap(
    log_w: Float[ndarray, " b"], log_z: Float[ndarray, " b"], group: Int[ndarray, " b"]
) -> float:
    """Return the mean over facts of |log Ẑ(f) − log F(s_0)|, in nats.

    It compares the learned log Z(f), the same for all questions of a fact in ``log_z``, with the
    Monte Carlo estimate from the fact's samples.
    """
    members = _rows_of_facts(group)
    return _mean(abs(_log_z_mc(log_w[rows]) - float(log_z[rows[0]])) for rows in members)


def variance_within(values: Float[ndarray, " b"], group: Int[ndarray, " b"]) -> float:
    """Return the mean square of the values after the mean of each fact is subtracted."""
    return float(np.square(_centered(values, group)).mean())


def _rows_of_facts(group: Int[ndarray, " b"]) -> list[Int[ndarray, " n"]]:
    """Row numbers of the questions of each fact in the batch."""
    return [np.flatnonzero(group == g) for g in np.unique(group)]


def _log_z_mc(log_w: Float[ndarray, " n"]) -> float:
    """log of the mean of w."""
    return float(np.logaddexp.reduce(log_w)) - math.log(len(log_w))


def _mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _softmax(x: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    weights = np.exp(x - x.max())
    shares: Float[ndarray, " n"] = weights / weights.sum()
    return shares


def _centered(x: Float[ndarray, " b"], group: Int[ndarray, " b"]) -> Float[ndarray, " b"]:
    """Subtract from each value the mean of its fact."""
    _, fact = np.unique(group, return_inverse=True)
    means = np.bincount(fact, weights=x) / np.bincount(fact)
    rest: Float[ndarray, " b"] = x - means[fact]
    return rest


def effective_share(log_w: Float[ndarray, " n"]) -> float:
    """Return the effective sample size over n: 1 for equal weights, 1/n if one weight dominates."""
    return 1.0 / (len(log_w) * float(np.square(_softmax(log_w)).sum()))


def slope(x: Float[ndarray, " b"], y: Float[ndarray, " b"], group: Int[ndarray, " b"]) -> float:
    """Return the least-squares slope of y on x, both centered per fact; NaN if x is constant."""
    dx = _centered(x, group)
    dy = _centered(y, group)
    spread = float(dx @ dx)
    return float(dx @ dy) / spread if spread > 1e-9 else math.nan


def correlation(x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> float:
    """Return Pearson's correlation; NaN if x or y is constant."""
    dx = x - x.mean()
    dy = y - y.mean()
    spread = math.sqrt(float(dx @ dx) * float(dy @ dy))
    return float(dx @ dy) / spread if spread > 1e-6 else math.nan


def rank_correlation(x: Float[ndarray, " n"], y: Float[ndarray, " n"]) -> float:
    """Return Spearman's correlation: Pearson's of the ranks, ties at their mean rank."""
    return correlation(ranks(x), ranks(y))


def ranks(x: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Return the ranks from 1, ties at their mean rank."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    mean_ranks: Float[ndarray, " m"] = counts.cumsum() - (counts - 1) / 2
    return mean_ranks[place]


def subset_distance(
    log_reward: Float[ndarray, " n"],
    log_pf: Float[ndarray, " n"],
    rng: torch.Generator,
    n_subsets: int = 16,
) -> float:
    """Return the mean over random subsets of the total variation between P_F and R.

    Both are normalized on the subset. This is FCS (flow consistency in sub-graphs, da Silva et al.
    2025): tractable where Z is not, and 0 on every subset exactly when P_F is proportional to R.
    The n questions must be distinct; a subset has half of them, at least two. NaN for n < 2.
    """
    n = len(log_reward)
    if n < 2:
        return math.nan
    total = 0.0
    for _ in range(n_subsets):
        rows = torch.randperm(n, generator=rng)[: max(2, n // 2)].numpy()
        difference = _softmax(log_pf[rows]) - _softmax(log_reward[rows])
        total += 0.5 * float(np.abs(difference).sum())
    return total / n_subsets


def prefix_entropy(questions: Sequence[Sequence[Hashable]], n_tokens: int = 3) -> float:
    """Return the entropy in nats of the first ``n_tokens`` tokens of n questions.

    0 if all begin alike (collapse), log n if no two do.
    """
    counts = Counter(tuple(question[:n_tokens]) for question in questions)
    share = np.array(list(counts.values())) / len(questions)
    return abs(float(-(share * np.log(share)).sum()))  # of one share: 0, and not -0


def _distinct(
    questions: Sequence[Sequence[Hashable]], rows: Int[ndarray, " n"]
) -> Int[ndarray, " m"]:
    """The first of the given rows for each distinct question."""
    seen: dict[tuple[Hashable, ...], int] = {}
    for row in rows.tolist():
        seen.setdefault(tuple(questions[row]), row)
    return np.array(list(seen.values()))
