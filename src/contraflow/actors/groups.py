"""A batch taken apart by facts, and put together again from those of several actors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from contraflow.experience.collect import Batch
from contraflow.experience.density import DrawnBatch


def split(batch: DrawnBatch) -> list[DrawnBatch]:
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
                log_q=tuple(batch.log_q[i] for i in some) if batch.log_q else (),
                n_replayed=0,
            )
        )
    return parts


def merge(batches: Sequence[Batch], device: str) -> DrawnBatch:
    """One batch of all questions; numbers of whole batches become means over the questions.

    Replayed questions have no density. Where a drawn batch has none either, nothing has.
    """
    n = sum(len(batch.scored) for batch in batches)
    facts = {fact.key: fact for batch in batches for fact in batch.facts}
    is_weighted = any(batch.weights is not None for batch in batches)
    log_q = tuple(q for batch in batches for q in _log_q(batch))
    return DrawnBatch(
        facts=tuple(facts.values()),
        scored=tuple(scored for batch in batches for scored in batch.scored),
        counts=tuple(count for batch in batches for count in batch.counts),
        pf_temp=sum(batch.pf_temp * len(batch.scored) for batch in batches) / n,
        n_replayed=sum(batch.n_replayed for batch in batches),
        device=device,
        weights=_shares(batches) if is_weighted else None,
        weighs_loss=any(batch.weighs_loss for batch in batches),
        prior_share=sum(batch.prior_share * len(batch.scored) for batch in batches) / n,
        log_q=log_q if len(log_q) == n else (),
    )


def _log_q(batch: Batch) -> tuple[float | None, ...]:
    if batch.n_replayed:
        return (None,) * len(batch.scored)
    return batch.log_q if isinstance(batch, DrawnBatch) else ()


def _shares(batches: Sequence[Batch]) -> tuple[float, ...]:
    """The share of each question in means over its fact, for losses on weights.

    Batches about the same fact have equal shares of it. So every fact weighs the same: losses on
    pairs of questions grow with the square of the sum of its weights.
    """
    parts = Counter(key for batch in batches for key in {s.fact_key for s in batch.scored})
    scored = [s for batch in batches for s in batch.scored]
    shares = [share for batch in batches for share in shares_within(batch)]
    rows = zip(scored, shares, strict=True)
    return tuple(share / parts[s.fact_key] for s, share in rows)


def shares_within(batch: Batch) -> tuple[float, ...]:
    """Return the weights of a batch; without any, the counts over those of the fact."""
    if batch.weights is not None:
        return batch.weights
    total: Counter[str] = Counter()
    for scored, count in zip(batch.scored, batch.counts, strict=True):
        total[scored.fact_key] += count
    pairs = zip(batch.scored, batch.counts, strict=True)
    return tuple(count / total[scored.fact_key] for scored, count in pairs)
