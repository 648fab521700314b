"""The token tree that a recording reads: its memory, and how results are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.models.token_tree import TokenTree

_TINY = 1e-12


def n_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the elements of some tensors."""
    return sum(x.numel() * x.element_size() for x in tensors)


def another(tree: TokenTree) -> TokenTree:
    """A tree of the same shape with other tokens, depths and ancestors, to record with.

    A recording is compared on the tree itself: that shows values which it has kept instead of
    reading them.
    """
    alone = torch.arange(1, tree.ends.shape[1] + 1, device=tree.ends.device)  # each sees itself
    return replace(
        tree,
        ids=tree.ids.flip(0, 1),
        depths=torch.zeros_like(tree.depths),
        ends=alone.expand_as(tree.ends).contiguous(),
    )


def load(into: TokenTree, tree: TokenTree) -> None:
    """Copy what a pass reads of a tree."""
    torch._foreach_copy_([into.ids, into.depths, into.ends], [tree.ids, tree.depths, tree.ends])


def relative_difference(
    found: Float[Tensor, "m d"], wanted: Float[Tensor, "m d"]
) -> Float[Tensor, ""]:
    """The largest of m differences, each relative to what is wanted; not a number where one is."""
    wanted = wanted.detach().float()
    off = (found.detach().float() - wanted).norm(dim=1) / wanted.norm(dim=1).clamp(min=_TINY)
    worst: Tensor = off.max()
    return worst


def largest(differences: Iterable[Float[Tensor, ""]]) -> float:
    """The largest; not a number where one is. Waits for a GPU."""
    return float(torch.stack(list(differences)).max())
