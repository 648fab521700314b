"""Token sequences that share beginnings, laid out so that each shared token is read once.

The states of the GFlowNet form a tree, and so do the prompts before them: eight questions about one
fact share its prompt, and those that begin "Who wrote" share that too. A tree is packed depth first
into a few rows; a token sees its ancestors only, so the backbone computes exactly what it would for
each sequence by itself, without padding and without reading anything twice within a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

ROW_TOKENS = (
    256  # longer rows share more and pad less, but attention within a row grows with their square
)


@dataclass(frozen=True)
class TokenTree:
    """r rows of n nodes, and where in them the b sequences run."""

    ids: Int[Tensor, "r n"]
    depths: Int[
        Tensor, "r n"
    ]  # 0 at a sequence's first token; position ids are these plus what comes before
    visible: Bool[Tensor, "r n n"]  # [row, node, ancestor], each node sees itself
    paths: Int[
        Tensor, "b s"
    ]  # flat node (row · n + column) of each token of each sequence; 0 past its end
    lengths: Int[Tensor, " b"]

    @classmethod
    def of(
        cls,
        sequences: Sequence[Sequence[int]],
        device: torch.device | None = None,
        row_tokens: int = ROW_TOKENS,
    ) -> TokenTree:
        """Pack sequences of at least one token; equal ones share all nodes. Raises: ValueError for
        an empty one.
        """
        if not all(sequences):
            raise ValueError("a token tree needs sequences of at least one token each")
        distinct = sorted({tuple(s) for s in sequences})
        rows = _Rows(_row_size(distinct, row_tokens))
        places = {sequence: rows.add(sequence) for sequence in distinct}
        return cls._laid_out(rows.filled, [places[tuple(s)] for s in sequences], device)

    @classmethod
    def _laid_out(
        cls, rows: list[_Row], places: list[tuple[int, list[int]]], device: torch.device | None
    ) -> TokenTree:
        n = max(len(row.ids) for row in rows)
        ids, depths = np.zeros((2, len(rows), n), dtype=np.int64)
        visible = np.broadcast_to(np.eye(n, dtype=bool), (len(rows), n, n)).copy()
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = row.ids
            depths[number, : len(row.ids)] = row.depths
            for node, parent in enumerate(row.parents):
                if parent >= 0:
                    visible[number, node] |= visible[number, parent]
        paths = np.zeros((len(places), max(len(nodes) for _, nodes in places)), dtype=np.int64)
        for sequence, (number, nodes) in enumerate(places):
            paths[sequence, : len(nodes)] = number * n + np.array(nodes)
        lengths = [len(nodes) for _, nodes in places]
        ids_, depths_, visible_, paths_ = (
            torch.from_numpy(x).to(device) for x in (ids, depths, visible, paths)
        )
        return cls(ids_, depths_, visible_, paths_, torch.tensor(lengths, device=device))

    @property
    def last(self) -> Int[Tensor, " b"]:
        """Flat node of each sequence's last token."""
        return self.paths.gather(1, self.lengths[:, None] - 1).squeeze(1)


class _Row:
    """One row while it is filled: nodes in depth-first order, and the path of the last sequence."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.parents: list[int] = []
        self._last: tuple[int, ...] = ()
        self._path: list[int] = []

    def new_tokens(self, sequence: tuple[int, ...]) -> int:
        """How many nodes this sequence would add."""
        return len(sequence) - _n_shared(self._last, sequence)

    def add(self, sequence: tuple[int, ...]) -> list[int]:
        """Its path through the row, new nodes where it leaves the last sequence's."""
        path = self._path[: _n_shared(self._last, sequence)]
        for token in sequence[len(path) :]:
            self.parents.append(path[-1] if path else -1)
            self.depths.append(len(path))
            path.append(len(self.ids))
            self.ids.append(token)
        self._last, self._path = sequence, path
        return path


class _Rows:
    """Sequences in sorted order go to the open row until it is full."""

    def __init__(self, row_tokens: int) -> None:
        self.row_tokens = row_tokens
        self.filled = [_Row()]

    def add(self, sequence: tuple[int, ...]) -> tuple[int, list[int]]:
        row = self.filled[-1]
        if row.ids and len(row.ids) + row.new_tokens(sequence) > self.row_tokens:
            self.filled.append(_Row())
        return len(self.filled) - 1, self.filled[-1].add(sequence)


def _row_size(ordered: Sequence[tuple[int, ...]], row_tokens: int) -> int:
    """As few rows as the limit allows, of about equal size."""
    total, before = 0, tuple[int, ...]()
    for sequence in ordered:
        total += len(sequence) - _n_shared(before, sequence)
        before = sequence
    n_rows = -(-total // row_tokens)
    return -(-total // n_rows) + (max(map(len, ordered)) if n_rows > 1 else 0)


def _n_shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n
