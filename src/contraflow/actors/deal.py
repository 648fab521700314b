"""The batch of a step divided among several learners, so that together they take one step.

A fact goes to one learner as a whole, because losses compare or average the questions of a fact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from contraflow.actors.groups import shares_within
from contraflow.experience.collect import Batch


def deal(batches: Sequence[Batch], n: int) -> list[list[Batch]]:
    """Divide batches, each about one fact, among n learners; all keep their order.

    Every learner gets a batch, and at most ⌈facts / n⌉ facts. Of the learners with room, the one
    with the fewest questions gets the fact with the most that are left. Where there are fewer facts
    than learners, batches about the same fact go to different ones.

    Raises: ValueError for fewer batches than learners.
    """
    if len(batches) < n:
        raise ValueError(f"{len(batches)} batches do not go round {n} learners")
    alike = _alike(batches)
    bundles = _by_fact(alike)
    if len(bundles) < n:
        bundles = [[i] for i in range(len(alike))]
    hands = _balanced([sum(len(alike[i].scored) for i in bundle) for bundle in bundles], n)
    return [[alike[i] for i in sorted(i for b in hand for i in bundles[b])] for hand in hands]


def _alike(batches: Sequence[Batch]) -> list[Batch]:
    """The batches as parts of one: where some are weighted, all are."""
    if all(batch.weights is None for batch in batches):
        return list(batches)
    weighs_loss = any(batch.weighs_loss for batch in batches)
    return [
        replace(batch, weights=shares_within(batch), weighs_loss=weighs_loss) for batch in batches
    ]


def _by_fact(batches: Sequence[Batch]) -> list[list[int]]:
    """The numbers of the batches of each fact."""
    found: dict[str, list[int]] = {}
    for number, batch in enumerate(batches):
        found.setdefault(batch.facts[0].key, []).append(number)
    return list(found.values())


def _balanced(sizes: Sequence[int], n: int) -> list[list[int]]:
    """Divide items into n parts of about the same size, with at most ⌈items / n⌉ each.

    The largest first, each to the smallest part (Graham 1969).
    """
    room = math.ceil(len(sizes) / n)
    parts: list[list[int]] = [[] for _ in range(n)]
    for item in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        open_parts = [part for part in parts if len(part) < room]
        min(open_parts, key=lambda part: sum(sizes[i] for i in part)).append(item)
    return parts
