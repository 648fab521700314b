"""Diagnostics of the sampler from log R and log P_F of a batch.

Pure functions on tensors; independent of the model. ``group`` is the number of each question's
fact. Every quantity is computed within a fact, since each has its own Z, and averaged over facts.
With w = R / P_F of questions sampled from P_F:

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
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.gflownet.objectives import centered
from contraflow.types import as_mask


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
    log_reward: Float[Tensor, " b"],
    log_pf: Float[Tensor, " b"],
    group: Int[Tensor, " b"],
    ids: Int[Tensor, "b t"],
    lengths: Int[Tensor, " b"],
    rng: torch.Generator,
) -> Health:
    """Return all diagnostics of a batch.

    Args:
        log_reward: log R of each question, in nats.
        log_pf: log P_F of each question, its stop included, in nats.
        group: the fact of each question.
        ids: token ids of the questions, padded on the right to ``lengths``.
        rng: samples the subsets of `subset_distance`.
    """
    log_w = log_reward - log_pf
    members = _rows_of_facts(group)
    distinct = [_distinct(ids, lengths, rows) for rows in members]
    return Health(
        elbo=_mean(float(log_w[rows].mean()) for rows in members),
        log_z_mc=_mean(_log_z_mc(log_w[rows]) for rows in members),
        eubo=_mean(float((log_w[rows].softmax(0) * log_w[rows]).sum()) for rows in members),
        ess=_mean(effective_share(log_w[rows]) for rows in members),
        slope=slope(log_reward, log_pf, group),
        rank_correlation=_mean(
            rank_correlation(log_reward[rows], log_pf[rows]) for rows in distinct
        ),
        fcs=_mean(subset_distance(log_reward[rows], log_pf[rows], rng) for rows in distinct),
        prefix_entropy=_mean(prefix_entropy(ids[rows], lengths[rows]) for rows in members),
        length_reward_correlation=_mean(
            correlation(lengths[r].to(log_reward.dtype), log_reward[r]) for r in distinct
        ),
    )


def log_z_gap(
    log_w: Float[Tensor, " b"], log_z: Float[Tensor, " b"], group: Int[Tensor, " b"]
) -> float:
    """Return the mean over facts of |log Ẑ(f) − log F(s_0)|, in nats.

    It compares the learned log Z(f), the same for all questions of a fact in ``log_z``, with the
    Monte Carlo estimate from the fact's samples.
    """
    members = _rows_of_facts(group)
    return _mean(abs(_log_z_mc(log_w[rows]) - float(log_z[rows[0]])) for rows in members)


def _rows_of_facts(group: Int[Tensor, " b"]) -> list[Int[Tensor, " n"]]:
    """Row numbers of the questions of each fact in the batch."""
    return [torch.nonzero(group == g).squeeze(1) for g in group.unique()]


def _log_z_mc(log_w: Float[Tensor, " n"]) -> float:
    """log of the mean of w."""
    return float(log_w.logsumexp(0)) - math.log(len(log_w))


def _mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def effective_share(log_w: Float[Tensor, " n"]) -> float:
    """Return the effective sample size over n: 1 for equal weights, 1/n if one weight dominates."""
    return 1.0 / (len(log_w) * float(log_w.softmax(0).square().sum()))


def slope(x: Float[Tensor, " b"], y: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> float:
    """Return the least-squares slope of y on x, both centered per fact; NaN if x is constant."""
    dx = centered(x, group)
    dy = centered(y, group)
    spread = float(dx.square().sum())
    return float((dx * dy).sum()) / spread if spread > 1e-9 else math.nan


def correlation(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    """Return Pearson's correlation; NaN if x or y is constant."""
    dx = x - x.mean()
    dy = y - y.mean()
    spread = float(dx.norm() * dy.norm())
    return float(dx @ dy) / spread if spread > 1e-6 else math.nan


def rank_correlation(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    """Return Spearman's correlation: Pearson's of the ranks, ties at their mean rank."""
    return correlation(ranks(x), ranks(y))


def ranks(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return the ranks from 1, ties at their mean rank."""
    place: Tensor
    counts: Tensor
    _, place, counts = torch.unique(x, return_inverse=True, return_counts=True)
    mean_ranks = counts.cumsum(0) - (counts.to(x.dtype) - 1) / 2
    return mean_ranks[place]


def subset_distance(
    log_reward: Float[Tensor, " n"],
    log_pf: Float[Tensor, " n"],
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
        rows = torch.randperm(n, generator=rng)[: max(2, n // 2)].to(log_pf.device)
        total += 0.5 * float((log_pf[rows].softmax(0) - log_reward[rows].softmax(0)).abs().sum())
    return total / n_subsets


def prefix_entropy(ids: Int[Tensor, "n t"], lengths: Int[Tensor, " n"], n_tokens: int = 3) -> float:
    """Return the entropy in nats of the first ``n_tokens`` tokens of n questions.

    0 if all begin alike (collapse), log n if no two do.
    """
    width = min(n_tokens, ids.shape[1])
    prefixes = torch.where(as_mask(lengths, width), ids[:, :width], -1)
    counts = torch.unique(prefixes, dim=0, return_counts=True)[1].float()
    share = counts / counts.sum()
    return float(-(share * share.log()).sum())


def _distinct(ids: Tensor, lengths: Tensor, rows: Tensor) -> Tensor:
    """The first of the given rows for each distinct question."""
    seen: dict[tuple[int, ...], int] = {}
    for row in rows.tolist():
        seen.setdefault(tuple(ids[row, : int(lengths[row])].tolist()), row)
    return torch.tensor(list(seen.values()), device=rows.device)
