"""N ranks on N shards take the optimizer step that one process would take on all of them.

A loss is a mean over terms (questions, pairs of questions, or facts; `training/terms.py`), and
ranks may have different numbers of terms. So the gradients of a rank are weighted by its share of
the terms. DistributedDataParallel does not fit: its plain mean over ranks is wrong where the counts
differ, and its hooks follow the forward pass of a wrapped module, which sampling, scoring and
`evaluate` bypass. The trained parameters are few: one flat bucket, one all-reduce after the
backward pass and before clipping.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from contraflow.distributed.messages import StepMetrics, decode, encode
from contraflow.distributed.ranks import Ranks


@torch.no_grad()
def all_reduce_gradients(
    ranks: Ranks, parameters: Iterable[torch.nn.Parameter], own: StepMetrics, step: int
) -> StepMetrics:
    """Replace this rank's gradients by those of the loss over all ranks' terms.

    Collective. Returns the metrics over all ranks.
    """
    if ranks.size == 1:
        return own
    phase = f"gradients of step {step}"
    gathered = [decode(data, StepMetrics) for data in ranks.gather(encode(own), phase)]
    merged = encode(merge_metrics(gathered)) if ranks.is_first else b""
    whole = decode(ranks.broadcast(merged, phase), StepMetrics)
    gradients = [p.grad for p in parameters if p.grad is not None]
    share = own.terms / max(1, whole.terms)
    bucket = torch.cat([g.flatten() for g in gradients]) * share
    total = ranks.all_reduce(bucket, phase)
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
    return whole


def merge_metrics(gathered: Sequence[StepMetrics]) -> StepMetrics:
    """Add up the terms; average each metric over the ranks that have it, weighted by terms."""
    names = dict.fromkeys(name for rank in gathered for name in rank.metrics)
    n_terms = sum(rank.terms for rank in gathered)
    return StepMetrics(n_terms, {name: _mean(name, gathered) for name in names})


def _mean(name: str, gathered: Sequence[StepMetrics]) -> float:
    with_it = [rank for rank in gathered if name in rank.metrics]
    weights = [max(1, rank.terms) for rank in with_it]
    total = sum(w * rank.metrics[name] for w, rank in zip(weights, with_it, strict=True))
    return total / sum(weights)


@torch.no_grad()
def broadcast_parameters(ranks: Ranks, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Start every rank from rank 0's weights: machines may draw different ones from one seed."""
    for parameter in parameters:
        parameter.copy_(ranks.broadcast_tensor(parameter.detach(), "weights at the start"))
