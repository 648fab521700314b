"""The token tree that a recording reads: its memory, and how results are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from contraflow.models.token_tree import TokenTree

_TINY = 1e-12


def n_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the elements of some tensors."""
    return sum(x.numel() * x.element_size() for x in tensors)


def another(tree: TokenTree) -> TokenTree:
    """A tree of the same shape with its tokens elsewhere, to record with.

    A recording is compared on the tree itself: that shows values which it has kept instead of
    reading them.
    """
    ids = tree.ids.flip(0, 1)
    return replace(tree, ids=ids, depths=tree.depths.roll(1, 0), ends=tree.ends.roll(1, 0))


def load(into: TokenTree, tree: TokenTree) -> None:
    """Copy what a pass reads of a tree."""
    torch._foreach_copy_([into.ids, into.depths, into.ends], [tree.ids, tree.depths, tree.ends])


def relative_difference(found: Tensor, wanted: Tensor) -> float:
    """The norm of the difference by the norm of what is wanted; not a number where one is not."""
    wanted = wanted.detach().float()
    off = (found.detach().float() - wanted).norm() / wanted.norm().clamp(min=_TINY)
    return float(off)
