"""Token sequences packed into a prefix tree, so that each shared token is read once.

The states of the GFlowNet form a tree, and so do the prompts before them: eight questions about one
fact share its prompt, and those that begin with "Who wrote" share these tokens too. The tree is
packed depth first into a few rows. A token attends to its ancestors only, so the backbone computes
the same values as for each sequence alone, without padding and without reading any token of a row
twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

# Longer rows share more and need less padding, but attention cost is quadratic in their length.
ROW_TOKENS = 256


@dataclass(frozen=True)
class TokenTree:
    """r rows of n nodes, and the path of each of b sequences through them."""

    ids: Int[Tensor, "r n"]
    depths: Int[Tensor, "r n"]  # 0 at the first token; position ids add the prefix length
    visible: Bool[Tensor, "r n n"]  # [row, node, ancestor]; each node sees itself
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
        if not all(sequences):
            raise ValueError("a token tree needs sequences of at least one token each")
        distinct = sorted({tuple(s) for s in sequences})
        rows = _Rows(_row_size(distinct, row_tokens))
        places = {sequence: rows.add(sequence) for sequence in distinct}
        return cls._from_rows(rows.filled, [places[tuple(s)] for s in sequences], device)

    @classmethod
    def _from_rows(
        cls, rows: list[_Row], places: list[tuple[int, list[int]]], device: torch.device | None
    ) -> TokenTree:
        """Build the tensors from the rows and from the place (row, nodes) of each sequence."""
        n = max(len(row.ids) for row in rows)
        ids = np.zeros((len(rows), n), dtype=np.int64)
        depths = np.zeros((len(rows), n), dtype=np.int64)
        visible = np.broadcast_to(np.eye(n, dtype=bool), (len(rows), n, n)).copy()
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = row.ids
            depths[number, : len(row.ids)] = row.depths
            # Parents precede their children, so the parent's row of the mask is complete.
            for node, parent in enumerate(row.parents):
                if parent >= 0:
                    visible[number, node] |= visible[number, parent]
        lengths = [len(nodes) for _, nodes in places]
        paths = np.zeros((len(places), max(lengths)), dtype=np.int64)
        for sequence, (number, nodes) in enumerate(places):
            paths[sequence, : len(nodes)] = number * n + np.array(nodes)
        return cls(
            ids=torch.from_numpy(ids).to(device),
            depths=torch.from_numpy(depths).to(device),
            visible=torch.from_numpy(visible).to(device),
            paths=torch.from_numpy(paths).to(device),
            lengths=torch.tensor(lengths, device=device),
        )

    @property
    def last(self) -> Int[Tensor, " b"]:
        """Flat node of each sequence's last token."""
        return self.paths.gather(1, self.lengths[:, None] - 1).squeeze(1)


class _Row:
    """A row being filled with sequences in sorted order; nodes are in depth-first order."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.parents: list[int] = []  # -1 for a root
        self._last: tuple[int, ...] = ()
        self._path: list[int] = []

    def new_tokens(self, sequence: tuple[int, ...]) -> int:
        """Return the number of nodes that this sequence would add."""
        return len(sequence) - _n_shared(self._last, sequence)

    def add(self, sequence: tuple[int, ...]) -> list[int]:
        """Add the nodes that the last sequence does not share; return the sequence's path."""
        path = self._path[: _n_shared(self._last, sequence)]
        for token in sequence[len(path) :]:
            self.parents.append(path[-1] if path else -1)
            self.depths.append(len(path))
            path.append(len(self.ids))
            self.ids.append(token)
        self._last = sequence
        self._path = path
        return path


class _Rows:
    """Adds sequences to the last row and starts a new row when it is full."""

    def __init__(self, row_tokens: int) -> None:
        self.row_tokens = row_tokens
        self.filled = [_Row()]

    def add(self, sequence: tuple[int, ...]) -> tuple[int, list[int]]:
        """Add a sequence; return its row number and its path."""
        row = self.filled[-1]
        if row.ids and len(row.ids) + row.new_tokens(sequence) > self.row_tokens:
            self.filled.append(_Row())
        return len(self.filled) - 1, self.filled[-1].add(sequence)


def _row_size(ordered: Sequence[tuple[int, ...]], row_tokens: int) -> int:
    """Return the row size for the fewest rows that the limit allows, of about equal size."""
    total = 0
    previous: tuple[int, ...] = ()
    for sequence in ordered:
        total += len(sequence) - _n_shared(previous, sequence)
        previous = sequence
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
