"""Token sequences packed into a prefix tree, so that each shared token is read once.

The states of the GFlowNet form a tree, and so do the prompts before them: eight questions about one
fact share its prompt, and those that begin with "Who wrote" share these tokens too. The tree is
packed depth first into a few rows. A token attends to its ancestors only, so the backbone computes
the same values as for each sequence alone, without padding and without reading any token of a row
twice.

A tree is packed in host memory (`HostTree`) and then copied to the device at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray
from torch import Tensor

from contraflow.models.transfer import packed_to_device

# Longer rows share more and need less padding, but attention cost is quadratic in their length.
ROW_TOKENS = 256


@dataclass(frozen=True)
class TokenTree:
    """r rows of n nodes, and the path of each of b sequences through them."""

    ids: Int[Tensor, "r n"]
    depths: Int[Tensor, "r n"]  # 0 at the first token; position ids add the prefix length
    ends: Int[Tensor, "r n"]  # the descendants of a node are the columns up to its end
    paths: Int[Tensor, "b s"]  # flat node (row * n + column) of each token; 0 past the end
    lengths: Int[Tensor, " b"]

    @classmethod
    def of(
        cls,
        sequences: Sequence[Sequence[int]],
        device: torch.device | None = None,
        row_tokens: int = ROW_TOKENS,
    ) -> TokenTree:
        """Pack sequences into rows of about `row_tokens` nodes; equal sequences share all nodes.

        Raises: ValueError when a sequence is empty.
        """
        return cls(*packed_to_device(HostTree.of(sequences, row_tokens).arrays, device))

    @property
    def visible(self) -> Bool[Tensor, "r n n"]:
        """[row, node, ancestor]: whether the node sees it; each node sees itself."""
        column = torch.arange(self.ends.shape[1], device=self.ends.device)
        node = column[:, None]
        return (node >= column) & (node < self.ends[:, None, :])

    @property
    def last(self) -> Int[Tensor, " b"]:
        """Flat node of each sequence's last token."""
        return self.paths.gather(1, self.lengths[:, None] - 1).squeeze(1)


@dataclass(frozen=True)
class HostTree:
    """The arrays of a `TokenTree` in host memory."""

    ids: Int[ndarray, "r n"]
    depths: Int[ndarray, "r n"]
    ends: Int[ndarray, "r n"]
    paths: Int[ndarray, "b s"]
    lengths: Int[ndarray, " b"]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]], row_tokens: int = ROW_TOKENS) -> HostTree:
        """Pack sequences as `TokenTree.of` does. Raises: ValueError when a sequence is empty."""
        if not all(sequences):
            raise ValueError("a token tree needs sequences of at least one token each")
        ordered = sorted({tuple(s) for s in sequences})
        shared = [0, *(_n_shared(a, b) for a, b in itertools.pairwise(ordered))]
        rows = _Rows(_row_size(ordered, shared, row_tokens))
        places = {s: rows.add(s, n) for s, n in zip(ordered, shared, strict=True)}
        return cls._of_rows(rows.filled, [places[tuple(s)] for s in sequences])

    @classmethod
    def _of_rows(cls, rows: list[_Row], places: list[tuple[int, list[int]]]) -> HostTree:
        """Build the arrays from the rows and from the place (row, nodes) of each sequence."""
        n = max(len(row.ids) for row in rows)
        ids = np.zeros((len(rows), n), dtype=np.int64)
        depths = np.zeros((len(rows), n), dtype=np.int64)
        ends = np.tile(np.arange(1, n + 1), (len(rows), 1))  # of padding: it sees itself
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = row.ids
            depths[number, : len(row.ids)] = row.depths
            ends[number, : len(row.ids)] = row.closed_ends()
        lengths = np.array([len(nodes) for _, nodes in places])
        paths = np.zeros((len(places), lengths.max()), dtype=np.int64)
        for sequence, (number, nodes) in enumerate(places):
            paths[sequence, : len(nodes)] = number * n + np.array(nodes)
        return cls(ids, depths, ends, paths, lengths)

    @property
    def arrays(self) -> list[ndarray]:
        """The fields in their order."""
        return [self.ids, self.depths, self.ends, self.paths, self.lengths]


class _Row:
    """A row being filled with sequences in sorted order; nodes are in depth-first order."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self._ends: list[int] = []
        self._path: list[int] = []

    def add(self, sequence: tuple[int, ...], n_shared: int) -> list[int]:
        """Add the nodes that the last sequence does not share; return the sequence's path."""
        self._close(n_shared)
        path = self._path[:n_shared]
        first = len(self.ids)
        new = sequence[n_shared:]
        path += range(first, first + len(new))
        self.ids += new
        self.depths += range(n_shared, len(sequence))
        self._ends += [0] * len(new)
        self._path = path
        return path

    def _close(self, n_shared: int) -> None:
        """Nodes that the next sequence does not run through get no more descendants."""
        for node in self._path[n_shared:]:
            self._ends[node] = len(self.ids)

    def closed_ends(self) -> list[int]:
        """The end of each node, once all sequences are added."""
        self._close(0)
        return self._ends


class _Rows:
    """Adds sequences to the last row and starts a new row when it is full."""

    def __init__(self, row_tokens: int) -> None:
        self.row_tokens = row_tokens
        self.filled = [_Row()]

    def add(self, sequence: tuple[int, ...], n_shared: int) -> tuple[int, list[int]]:
        """Add a sequence that shares tokens with the last one; return its row and its path."""
        row = self.filled[-1]
        if row.ids and len(row.ids) + len(sequence) - n_shared > self.row_tokens:
            self.filled.append(_Row())
            n_shared = 0
        return len(self.filled) - 1, self.filled[-1].add(sequence, n_shared)


def _row_size(ordered: Sequence[tuple[int, ...]], shared: Sequence[int], row_tokens: int) -> int:
    """Return the row size for the fewest rows that the limit allows, of about equal size."""
    total = sum(map(len, ordered)) - sum(shared)
    n_rows = -(-total // row_tokens)
    return -(-total // n_rows) + (max(map(len, ordered)) if n_rows > 1 else 0)


def _n_shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the common prefix."""
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n
