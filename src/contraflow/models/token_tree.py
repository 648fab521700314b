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
from dataclasses import dataclass, replace

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
        multiple: int = 1,
    ) -> TokenTree:
        """Pack sequences into rows of about `row_tokens` nodes; equal sequences share all nodes.

        Args:
            multiple: rows are filled up to a multiple of so many nodes, the rest being padding.

        Raises: ValueError when a sequence is empty.
        """
        return cls(*packed_to_device(HostTree.of(sequences, row_tokens, multiple).arrays, device))

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
    def of(
        cls,
        sequences: Sequence[Sequence[int]],
        row_tokens: int = ROW_TOKENS,
        multiple: int = 1,
    ) -> HostTree:
        """Pack sequences as `TokenTree.of` does. Raises: ValueError when a sequence is empty."""
        if not all(sequences):
            raise ValueError("a token tree needs sequences of at least one token each")
        ordered = sorted({tuple(s) for s in sequences})
        number = {s: i for i, s in enumerate(ordered)}
        tree = cls._of_sorted(ordered, row_tokens, multiple)
        which = [number[tuple(s)] for s in sequences]
        return replace(tree, paths=tree.paths[which], lengths=tree.lengths[which])

    @classmethod
    def _of_sorted(cls, ordered: list[tuple[int, ...]], row_tokens: int, multiple: int) -> HostTree:
        """Pack k different sequences in sorted order: nodes of a row are in depth-first order."""
        tokens, is_token = _table(ordered)
        lengths = is_token.sum(1)
        shared = _n_shared(tokens, is_token)
        size = _rounded_up(_row_size(lengths, shared, row_tokens), multiple)
        rows = _Rows.of(lengths, shared, size)
        depth = np.arange(tokens.shape[1])
        is_new = is_token & (depth >= rows.shared[:, None])
        r, n = int(rows.row[-1]) + 1, _rounded_up(int(rows.stop.max()), multiple)
        node = (rows.row * n + rows.start - rows.shared)[:, None] + depth
        place = node[is_new]
        ids = np.zeros(r * n, dtype=np.int64)
        depths = np.zeros(r * n, dtype=np.int64)
        ends = np.tile(np.arange(1, n + 1), r)  # of padding: it sees itself
        ids[place] = tokens[is_new]
        depths[place] = np.broadcast_to(depth, is_new.shape)[is_new]
        ends[place] = rows.ends(depth)[is_new]
        # A shared node is that of the last sequence before to which it was new.
        owner = np.maximum.accumulate(np.where(is_new, np.arange(len(ordered))[:, None], 0))
        paths = np.where(is_token, node[owner, depth], 0)
        return cls(ids.reshape(r, n), depths.reshape(r, n), ends.reshape(r, n), paths, lengths)

    @property
    def arrays(self) -> list[ndarray]:
        """The fields in their order."""
        return [self.ids, self.depths, self.ends, self.paths, self.lengths]


@dataclass(frozen=True)
class _Rows:
    """Where k sorted sequences lie: each adds the nodes that it does not share with the last."""

    row: Int[ndarray, " k"]
    start: Int[ndarray, " k"]  # column of the first node that the sequence adds
    stop: Int[ndarray, " k"]  # column behind the last one
    shared: Int[ndarray, " k"]  # nodes of its path that were there before

    @classmethod
    def of(cls, lengths: Int[ndarray, " k"], shared: Int[ndarray, " k"], row_tokens: int) -> _Rows:
        """Add sequences to the last row; start a new one, which shares nothing, when it is full."""
        found = []
        row = stop = 0
        for length, in_common in zip(lengths.tolist(), shared.tolist(), strict=True):
            is_full = stop > 0 and stop + length - in_common > row_tokens
            n_shared = 0 if is_full else in_common
            row += is_full
            start = 0 if is_full else stop
            stop = start + length - n_shared
            found.append((row, start, stop, n_shared))
        return cls(*np.array(found).T)

    def ends(self, depth: Int[ndarray, " s"]) -> Int[ndarray, "k s"]:
        """The column behind the last descendant of the node that a sequence adds at each depth.

        Descendants go on until the first later sequence that does not share the node.
        """
        k = len(self.row)
        leaves = np.full((k + 1, len(depth)), k)
        leaves[:k] = np.where(self.shared[:, None] <= depth, np.arange(k)[:, None], k)
        first = np.minimum.accumulate(leaves[:0:-1])[::-1]
        ends: Int[ndarray, "k s"] = self.stop[first - 1]
        return ends


def _table(ordered: list[tuple[int, ...]]) -> tuple[Int[ndarray, "k s"], Bool[ndarray, "k s"]]:
    """The sequences, filled up with zeros, and whether a place holds a token."""
    lengths = np.array([len(s) for s in ordered])
    is_token = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.zeros(is_token.shape, dtype=np.int64)
    tokens[is_token] = np.fromiter(itertools.chain.from_iterable(ordered), np.int64, lengths.sum())
    return tokens, is_token


def _rounded_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _row_size(lengths: Int[ndarray, " k"], shared: Int[ndarray, " k"], row_tokens: int) -> int:
    """Return the row size for the fewest rows that the limit allows, of about equal size."""
    total = int(lengths.sum() - shared.sum())
    n_rows = -(-total // row_tokens)
    return -(-total // n_rows) + (int(lengths.max()) if n_rows > 1 else 0)


def _n_shared(tokens: Int[ndarray, "k s"], is_token: Bool[ndarray, "k s"]) -> Int[ndarray, " k"]:
    """How many tokens each sequence has in common with the one before, from the first on."""
    same = (tokens[1:] == tokens[:-1]) & is_token[1:] & is_token[:-1]
    shared = np.zeros(len(tokens), dtype=np.int64)
    shared[1:] = np.logical_and.accumulate(same, axis=1).sum(1)
    return shared
