"""Is the sampler healthy? Numbers that any batch can tell, from log R and log P_F alone.

Pure functions on tensors; no model inside. ``group`` says which fact each question is about; every
quantity is taken within a fact, since each has its own Z, and averaged over facts. With w = R / P_F
of questions drawn by P_F:

    ELBO      E[log w] ≤ log Z               how much of the target the draws have found
    log Ẑ     log E[w]                       the Monte-Carlo estimate of log Z
    EUBO      E[w log w] / E[w] ≥ log Z      draws re-weighted to the target (Blessing et al. 2024)
    ESS       (Σ w)² / (n Σ w²)              share of the draws that count; 1 when sampling is exact

At the optimum all three bounds meet, Var(log w) = 0, and log P_F follows log R with slope 1. A
tempered or replayed batch is no draw of P_F: there ELBO and EUBO are estimates of nothing in
particular, and the share of replay tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.gflownet.objectives import centered


@dataclass(frozen=True)
class Health:
    """Means over the facts of a batch; NaN where no fact has enough different questions to say."""

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
        """The metrics by name."""
        return asdict(self)


def health(
    log_reward: Float[Tensor, " b"],
    log_pf: Float[Tensor, " b"],
    group: Int[Tensor, " b"],
    ids: Int[Tensor, "b t"],
    lengths: Int[Tensor, " b"],
    rng: torch.Generator,
) -> Health:
    """All of it for one batch; ``rng`` draws the subsets of `subset_distance`."""
    log_w = log_reward - log_pf
    members = [torch.nonzero(group == g).squeeze(1) for g in group.unique()]
    different = [_different(ids, lengths, rows) for rows in members]
    return Health(
        elbo=_mean(float(log_w[rows].mean()) for rows in members),
        log_z_mc=_mean(_log_z_mc(log_w[rows]) for rows in members),
        eubo=_mean(float((log_w[rows].softmax(0) * log_w[rows]).sum()) for rows in members),
        ess=_mean(effective_share(log_w[rows]) for rows in members),
        slope=slope(log_reward, log_pf, group),
        rank_correlation=_mean(
            rank_correlation(log_reward[rows], log_pf[rows]) for rows in different
        ),
        fcs=_mean(subset_distance(log_reward[rows], log_pf[rows], rng) for rows in different),
        prefix_entropy=_mean(prefix_entropy(ids[rows], lengths[rows]) for rows in members),
        length_reward_correlation=_mean(
            correlation(lengths[r].to(log_reward.dtype), log_reward[r]) for r in different
        ),
    )


def log_z_gap(
    log_w: Float[Tensor, " b"], log_z: Float[Tensor, " b"], group: Int[Tensor, " b"]
) -> float:
    """Mean over facts of |log Ẑ(f) − log F(s_0)|: how far the modeled log Z is from what the fact's
    draws say.
    """
    members = [torch.nonzero(group == g).squeeze(1) for g in group.unique()]
    return _mean(abs(_log_z_mc(log_w[rows]) - float(log_z[rows[0]])) for rows in members)


def _log_z_mc(log_w: Float[Tensor, " n"]) -> float:
    return float(log_w.logsumexp(0)) - math.log(len(log_w))


def _mean(values: Iterable[float]) -> float:
    """Over those that are defined; NaN where none is."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def effective_share(log_w: Float[Tensor, " n"]) -> float:
    """Effective sample size over n: 1 for equal weights, 1/n when one question has all of it."""
    return 1.0 / (len(log_w) * float(log_w.softmax(0).square().sum()))


def slope(x: Float[Tensor, " b"], y: Float[Tensor, " b"], group: Int[Tensor, " b"]) -> float:
    """Least squares of y on x, both centered within their fact, pooled; NaN where x does not vary."""
    dx, dy = centered(x, group), centered(y, group)
    spread = float(dx.square().sum())
    return float((dx * dy).sum()) / spread if spread > 1e-9 else math.nan


def correlation(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    """Pearson's; NaN where either does not vary."""
    dx, dy = x - x.mean(), y - y.mean()
    spread = float(dx.norm() * dy.norm())
    return float(dx @ dy) / spread if spread > 1e-6 else math.nan


def rank_correlation(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> float:
    """Spearman's: Pearson's of mean ranks."""
    return correlation(_ranks(x), _ranks(y))


def subset_distance(
    log_reward: Float[Tensor, " n"],
    log_pf: Float[Tensor, " n"],
    rng: torch.Generator,
    n_subsets: int = 16,
) -> float:
    """Total variation of P_F and R, each normalized on a random subset of different questions,
    averaged over subsets.

    FCS (flow consistency in sub-graphs, da Silva et al. 2025): tractable where Z is not, and 0 on
    every subset exactly when P_F is in proportion to R. Subsets have half of the questions, at
    least two.
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
    """Entropy in nats of how n questions begin: 0 when all begin alike (collapse), log n when none
    do.
    """
    width = min(n_tokens, ids.shape[1])
    starts = torch.where(
        torch.arange(width, device=ids.device) < lengths[:, None], ids[:, :width], -1
    )
    counts = torch.unique(starts, dim=0, return_counts=True)[1].float()
    share = counts / counts.sum()
    return float(-(share * share.log()).sum())


def _different(ids: Tensor, lengths: Tensor, rows: Tensor) -> Tensor:
    """Of these rows, one for each different question."""
    seen: dict[tuple[int, ...], int] = {}
    for row in rows.tolist():
        seen.setdefault(tuple(ids[row, : int(lengths[row])].tolist()), row)
    return torch.tensor(list(seen.values()), device=rows.device)


def _ranks(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    below, equal = (x[None, :] < x[:, None]).sum(1), (x[None, :] == x[:, None]).sum(1)
    return below.to(x.dtype) + (equal.to(x.dtype) + 1) / 2
