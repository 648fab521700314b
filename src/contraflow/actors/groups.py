"""A batch taken apart by facts, and put together again from those of several actors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from contraflow.experience.collect import Batch


def split(batch: Batch) -> list[Batch]:
    """One batch for each fact, in the order of the questions."""
    parts = []
    rows = range(len(batch.scored))
    for key, of_fact in groupby(rows, key=lambda row: batch.scored[row].fact_key):
        some = list(of_fact)
        parts.append(
            replace(
                batch,
                facts=tuple(fact for fact in batch.facts if fact.key == key),
                scored=tuple(batch.scored[row] for row in some),
                counts=tuple(batch.counts[row] for row in some),
                weights=None if batch.weights is None else tuple(batch.weights[i] for i in some),
                n_replayed=0,
            )
        )
    return parts


def merge(batches: Sequence[Batch], device: str) -> Batch:
    """One batch of all questions; numbers of whole batches become means over the questions."""
    n = sum(len(batch.scored) for batch in batches)
    facts = {fact.key: fact for batch in batches for fact in batch.facts}
    is_weighted = any(batch.weights is not None for batch in batches)
    weights = tuple(weight for batch in batches for weight in _weights(batch))
    return Batch(
        facts=tuple(facts.values()),
        scored=tuple(scored for batch in batches for scored in batch.scored),
        counts=tuple(count for batch in batches for count in batch.counts),
        pf_temp=sum(batch.pf_temp * len(batch.scored) for batch in batches) / n,
        n_replayed=sum(batch.n_replayed for batch in batches),
        device=device,
        weights=weights if is_weighted else None,
        weighs_loss=any(batch.weighs_loss for batch in batches),
        prior_share=sum(batch.prior_share * len(batch.scored) for batch in batches) / n,
    )


def _weights(batch: Batch) -> tuple[float, ...]:
    """The weight of each question; without any it is its count."""
    return batch.weights or tuple(map(float, batch.counts))
