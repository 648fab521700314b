"""N ranks on N shards take the step that one process would take on all of them.

A loss is a mean over terms (questions, or pairs of questions), and ranks may have different numbers
of them: so a rank's gradients count in proportion to its terms. There is no DistributedDataParallel
around the policy, because its mean over ranks is another number where the counts differ, and
because its hooks follow the forward of a wrapped module, which sampling, scoring and `evaluate` all
go around. What is trained is small: one flat bucket, one collective after the backward pass and
before clipping.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from contraflow.distributed.messages import StepMetrics, decode, encode
from contraflow.distributed.ranks import Ranks


@torch.no_grad()
def all_reduce_gradients(
    ranks: Ranks, parameters: Iterable[torch.nn.Parameter], note: StepMetrics, step: int
) -> StepMetrics:
    """Replace this rank's gradients by those of the union; returns the note of the union."""
    if ranks.size == 1:
        return note
    phase = f"gradients of step {step}"
    notes = [decode(data, StepMetrics) for data in ranks.gather(encode(note), phase)]
    whole = decode(
        ranks.broadcast(encode(union(notes)) if ranks.is_first else b"", phase), StepMetrics
    )
    gradients = [p.grad for p in parameters if p.grad is not None]
    share = note.terms / max(1, whole.terms)
    flat = torch.cat([g.flatten() for g in gradients]) * share
    total = ranks.all_reduce(flat, phase)
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
    return whole


def union(notes: Sequence[StepMetrics]) -> StepMetrics:
    """Terms add up; a number is the mean over the terms of the ranks that have it."""
    names = dict.fromkeys(name for note in notes for name in note.metrics)
    return StepMetrics(sum(n.terms for n in notes), {name: _mean(name, notes) for name in names})


def _mean(name: str, notes: Sequence[StepMetrics]) -> float:
    having = [note for note in notes if name in note.metrics]
    weights = [max(1, note.terms) for note in having]
    return sum(w * n.metrics[name] for w, n in zip(weights, having, strict=True)) / sum(weights)


@torch.no_grad()
def broadcast_parameters(ranks: Ranks, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Every rank starts from rank 0's weights: two machines need not draw the same ones from a
    seed.
    """
    for parameter in parameters:
        parameter.copy_(ranks.broadcast_tensor(parameter.detach(), "weights at the start"))
