"""The density that questions were drawn with, and batches that carry it from process to process.

Balance losses have the same optimum for questions of any distribution. Two losses ask for its
density q: the forward KL weights a question by R / q, and a policy gradient of questions that an
older version of the policy drew weights it by the ratio P_F / q. Only the version that drew a
question can tell q, so a process that samples for another one sends it along.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from contraflow.experience.collect import Batch
from contraflow.gflownet.groups import group_sum
from contraflow.models.transfer import to_device
from contraflow.policy.lora import LoraPolicy
from contraflow.types import PathLogProbs

# Truncated importance sampling (Ionides 2008): a question that has become much more likely than it
# was when it was drawn would otherwise decide a step alone.
RATIO_LIMIT = 4.0


@dataclass(frozen=True)
class DrawnBatch(Batch):
    """A batch of questions that versions of the policy drew elsewhere.

    log_q: log-density of each question when it was drawn, in nats; None for one of replay, which
        was chosen, not drawn. Empty where no loss asks for densities.
    """

    log_q: tuple[float | None, ...] = ()

    @classmethod
    def of(cls, batch: Batch, log_q: tuple[float | None, ...] = ()) -> DrawnBatch:
        """The same batch with densities."""
        values = {field.name: getattr(batch, field.name) for field in fields(Batch)}
        return cls(**values, log_q=log_q)

    @cached_property
    def log_density(self) -> Float[Tensor, " b"]:
        """log q of each question, 0 for stored ones. Raises: ValueError where none was sent."""
        if len(self.log_q) != len(self.scored):
            raise ValueError(f"{len(self.scored)} questions came with {len(self.log_q)} densities")
        return to_device(torch.tensor([q or 0.0 for q in self.log_q]), self.device)

    @cached_property
    def is_stored(self) -> Bool[Tensor, " b"]:
        """Whether each question comes from replay, which has no density."""
        return to_device(torch.tensor([q is None for q in self.log_q]), self.device)


@torch.no_grad()
def log_density(
    batch: Batch, paths: PathLogProbs | None, policy: LoraPolicy
) -> Float[Tensor, " b"]:
    """Return log of the density that new questions were drawn with, in nats.

    That is (1 − s) P_F + s P_Q, where P_F has the temperature of the step. The policy must be the
    one that drew them.

    Args:
        paths: the questions' paths at temperature 1, where they are known; at another temperature
            the questions are read once more.
    """
    if paths is None or batch.pf_temp != 1.0:
        paths = policy.evaluate(batch.facts, batch.owners, batch.questions, batch.pf_temp)
    log_q = paths.log_p_question.detach().float()
    share = batch.prior_share
    if share == 0:
        return log_q
    log_prior = torch.tensor([s.log_p_question for s in batch.scored], device=log_q.device)
    return torch.logaddexp(log_q + math.log1p(-share), log_prior + math.log(share))


@torch.no_grad()
def ratio_weight(batch: DrawnBatch, log_pf: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return the share of each question under the policy: its share among the draws times P_F / q.

    With it a mean over the draws estimates the mean over the policy that ``log_pf`` belongs to,
    without bias but for the ratios that are cut at `RATIO_LIMIT`. Without weights the share of a
    row is that of its draws: equal ones may share a row.

    Raises: ValueError where a question has no density.
    """
    share = batch.loss_weight
    log_q = batch.log_density
    if batch.n_replayed:
        raise ValueError("stored questions have no density, so no ratio")
    if share is None:
        counts = to_device(torch.tensor(batch.counts, dtype=log_q.dtype), batch.device)
        share = counts / group_sum(counts, batch.fact_index)
    log_ratio = log_pf.detach().float() - log_q
    return share * log_ratio.clamp(max=math.log(RATIO_LIMIT)).exp()


def ratio_metrics(batch: DrawnBatch, log_pf: Float[ndarray, " b"]) -> dict[str, float]:
    """Return how far the policy has moved from what was sampled; nothing without densities.

    ratio_ess: effective share of the drawn questions under the weights P_F / q, (Σ w)² / (n Σ w²).
    ratio_cut: share of the ratios above `RATIO_LIMIT`, which a policy gradient cuts.
    """
    pairs = [(p, q) for p, q in zip(log_pf, batch.log_q or (), strict=False) if q is not None]
    if not pairs:
        return {}
    log_ratio = np.array([p - q for p, q in pairs])
    weight = np.exp(log_ratio - log_ratio.max())
    return {
        "ratio_ess": float(weight.sum() ** 2 / (len(weight) * np.square(weight).sum())),
        "ratio_cut": float((log_ratio > math.log(RATIO_LIMIT)).mean()),
    }
