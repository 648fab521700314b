"""Token trees packed by their definition: a node is a prefix, and rows are filled in order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from contraflow.models.token_tree import HostTree

Prefix = tuple[int, ...]


def packed_slowly(sequences: Sequence[Sequence[int]], row_tokens: int, multiple: int) -> HostTree:
    """Return what `HostTree.of` must, one prefix after the other."""
    ordered = sorted({tuple(s) for s in sequences})
    rows: list[dict[Prefix, int]] = [{}]  # the column of each prefix
    row_of = {}
    for sequence in ordered:
        is_full = len(rows[-1]) + len(_missing(sequence, rows[-1])) > _size(
            ordered, row_tokens, multiple
        )
        if rows[-1] and is_full:
            rows.append({})
        for prefix in _missing(sequence, rows[-1]):
            rows[-1][prefix] = len(rows[-1])
        row_of[sequence] = len(rows) - 1
    return _arrays(rows, [(row_of[tuple(s)], tuple(s)) for s in sequences], multiple)


def _prefixes(sequence: Prefix) -> list[Prefix]:
    return [sequence[: n + 1] for n in range(len(sequence))]


def _missing(sequence: Prefix, row: dict[Prefix, int]) -> list[Prefix]:
    return [prefix for prefix in _prefixes(sequence) if prefix not in row]


def _size(ordered: list[Prefix], row_tokens: int, multiple: int) -> int:
    """The nodes of the fewest rows of about equal size, and room for the longest sequence."""
    total = len({prefix for sequence in ordered for prefix in _prefixes(sequence)})
    n_rows = math.ceil(total / row_tokens)
    size = math.ceil(total / n_rows) + (max(map(len, ordered)) if n_rows > 1 else 0)
    return math.ceil(size / multiple) * multiple


def _arrays(
    rows: list[dict[Prefix, int]], places: list[tuple[int, Prefix]], multiple: int
) -> HostTree:
    n = math.ceil(max(map(len, rows)) / multiple) * multiple
    ids = np.zeros((len(rows), n), dtype=np.int64)
    depths = np.zeros((len(rows), n), dtype=np.int64)
    ends = np.tile(np.arange(n) + 1, (len(rows), 1))
    for number, row in enumerate(rows):
        for prefix, column in row.items():
            ids[number, column] = prefix[-1]
            depths[number, column] = len(prefix) - 1
            below = [c for other, c in row.items() if other[: len(prefix)] == prefix]
            ends[number, column] = max(below) + 1
    lengths = np.array([len(sequence) for _, sequence in places])
    paths = np.zeros((len(places), lengths.max()), dtype=np.int64)
    for b, (number, sequence) in enumerate(places):
        nodes = [number * n + rows[number][prefix] for prefix in _prefixes(sequence)]
        paths[b, : len(nodes)] = nodes
    return HostTree(ids, depths, ends, paths, lengths)
