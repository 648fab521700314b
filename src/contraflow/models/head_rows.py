"""Rows of a frozen LM head, laid out so that a GPU multiplies by them at full speed.

The fast half-precision kernels of a GPU load 16 bytes at a time, so they need matrices whose sizes
are multiples of 8. A head of 50,257 rows runs a kernel that takes five times as long as reading the
weights. Therefore rows are copied with zero rows behind them, and their logits are cut off again.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

ALIGNED_ON = ("cuda",)  # device types whose products are faster with zero rows
ROW_MULTIPLE = 64
NEEDED_MULTIPLE = 8  # a head with such a number of rows is fast as it is


class HeadRows:
    """A copy of the rows `ids` of an LM head, or of all of them; zero rows follow on a GPU.

    weight: W of these rows, a view of `padded`.
    padded: W and the zero rows.
    """

    def __init__(self, head: nn.Linear, ids: Int[Tensor, " a"] | None = None) -> None:
        self.ids = ids
        self.count = len(head.weight) if ids is None else len(ids)
        rows = self.count
        if head.weight.device.type in ALIGNED_ON:
            rows = -(-rows // ROW_MULTIPLE) * ROW_MULTIPLE
        like = head.weight.detach()
        self.padded: Float[Tensor, "p d"] = like.new_zeros(rows, like.shape[1])
        self.weight: Float[Tensor, "a d"] = self.padded[: self.count]
        self._bias = None if head.bias is None else head.bias.detach().new_zeros(rows)
        # Held, so that no other weights can get the address while this copy is compared by it.
        self._sources = [x.detach() for x in _tensors(head)]
        self._versions = self._copy(head)

    @torch.no_grad()
    def _copy(self, head: nn.Linear) -> list[int]:
        which = slice(None) if self.ids is None else self.ids
        self.weight.copy_(head.weight[which])
        if self._bias is not None:
            self._bias[: self.count] = head.bias[which]
        return _versions(head)

    def follows(self, head: nn.Linear) -> bool:
        """Whether this is a copy of the head as it is now; edits in place are copied first.

        They are copied to the same addresses, which a recording may read. Edits through `.data`
        in place are not seen: PyTorch does not count them. No device is waited for.
        """
        now = _tensors(head)
        if not _same_memory(now, self._sources):
            return False
        if _versions(head) != self._versions:
            self._versions = self._copy(head)
        return True

    def product(self, hidden: Float[Tensor, "*s d"]) -> Float[Tensor, "*s a"]:
        """Return what the head computes of these rows; differentiable by `hidden`."""
        return functional.linear(hidden, self.padded, self._bias)[..., : self.count]


class HeadCopies:
    """The copies of one head that are in use: of the last set of ids, and of the whole head."""

    def __init__(self) -> None:
        self._rows: HeadRows | None = None
        self._whole: HeadRows | None = None

    def rows(self, head: nn.Linear, ids: Int[Tensor, " a"]) -> HeadRows:
        """The rows of a set of ids, as the head is now."""
        # Comparing with the stored tensor is safe; the id() of a freed one could be reused.
        if self._rows is None or self._rows.ids is not ids or not self._rows.follows(head):
            self._rows = HeadRows(head, ids)
        return self._rows

    def whole(self, head: nn.Linear) -> HeadRows | None:
        """All rows, made at their first use; None where the head itself is as fast (`profits`).

        The copy takes the memory of the head again: 129 MB for gpt2-large in bfloat16.
        """
        if not profits(head):
            self._whole = None
        elif self._whole is None or not self._whole.follows(head):
            self._whole = HeadRows(head)
        return self._whole


def profits(head: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a whole head should be multiplied as a copy with zero rows.

    Not if something else than the plain product may be computed (quantized heads, adapters, hooks),
    or if the head itself is differentiated.
    """
    if type(head) is not nn.Linear or len(head.weight) % NEEDED_MULTIPLE == 0:
        return False
    hooked = head._forward_hooks or head._forward_pre_hooks or "forward" in vars(head)
    trained = torch.is_grad_enabled() and any(p.requires_grad for p in head.parameters())
    return head.weight.device.type in ALIGNED_ON and not hooked and not trained


def _tensors(head: nn.Linear) -> list[Tensor]:
    return [x for x in (head.weight, head.bias) if x is not None]


def _versions(head: nn.Linear) -> list[int]:
    """How often each tensor was changed in place; not counted for tensors of inference mode."""
    return [0 if x.is_inference() else x._version for x in _tensors(head)]


def _same_memory(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(
        x.data_ptr() == y.data_ptr() and x.shape == y.shape and x.dtype == y.dtype
        for x, y in zip(a, b, strict=True)
    )
