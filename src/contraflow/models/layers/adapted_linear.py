"""A linear layer with its adapter, in three kernels, or in two.

PEFT computes the adapter in its own precision, float32, with casts, a scale and an addition: eight
kernels. A decoding step does it in the precision of the layer. The adapter is not added to the
weights: in bfloat16 a weight of 0.1 has steps of 0.0005, and the small changes of a young adapter
would be rounded away.

A product with the few rows of the adapter's first matrix takes a GPU nearly as long as one with the
weights of the layer. Where there is memory for a copy of these weights, both are one product.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from contraflow.models.causal_lm import CausalLM

ALIGNED = 64  # rows of a product: a GPU's fastest kernels take multiples of 8


class AdaptedLinear(nn.Module):
    """A linear layer with its adapter: base(x) + x · down · up, in the dtype of the model.

    `down` and `minus_up` keep their addresses, so that a recording reads the weights of today.
    """

    def __init__(self, layer: Any, adapter: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.base = layer.base_layer
        self.scale = float(layer.scaling[adapter])
        # Modules, as a parameter may be replaced.
        self._adapter = (layer.lora_A[adapter], layer.lora_B[adapter])
        a, b = self.sources
        self.down = torch.empty_like(a, dtype=dtype, requires_grad=False)
        self.minus_up = torch.empty_like(b, dtype=dtype, requires_grad=False)
        self.joined: Float[Tensor, "j i"] | None = None  # the layer's weights, then `down`
        self.joined_bias: Float[Tensor, " j"] | None = None
        self._copied: list[tuple[int, int]] = []  # address and version of what was copied

    @property
    def sources(self) -> tuple[Float[Tensor, "r i"], Float[Tensor, "o r"]]:
        """The weights of the adapter as they are now."""
        a, b = self._adapter
        return a.weight, b.weight

    def forward(self, x: Float[Tensor, "*s i"]) -> Float[Tensor, "*s o"]:
        if self.joined is None:
            out: Tensor = self.base(x)
            low_rank = x @ self.down.t()
        else:
            n_out, rank = self.minus_up.shape
            both = functional.linear(x, self.joined, self.joined_bias)
            out, low_rank = both[..., :n_out], both[..., n_out : n_out + rank]
        # Subtracted: a compiler makes one `addmm` of a product and a sum, and copies `out` for it.
        return out - low_rank @ self.minus_up.t()

    @property
    def joined_bytes(self) -> int | None:
        """Bytes of a copy of the weights with `down`; None for layers that cannot be copied."""
        weight: Tensor = self.base.weight
        if type(self.base) not in (nn.Linear, Conv1D) or weight.dtype != self.down.dtype:
            return None
        return self._n_joined * self.down.shape[1] * weight.element_size()

    @property
    def _n_joined(self) -> int:
        return -(-sum(self.minus_up.shape) // ALIGNED) * ALIGNED

    @torch.no_grad()
    def join(self) -> None:
        """Copy the weights, so that both products are one."""
        self.joined = self.down.new_zeros(self._n_joined, self.down.shape[1])
        self.joined_bias = self.down.new_zeros(self._n_joined)
        n_out, rank = self.minus_up.shape
        self.down = self.joined[n_out : n_out + rank]
        self.copy_base()

    @torch.no_grad()
    def copy_base(self) -> None:
        """Copy the weights of the layer where they have changed since."""
        if self.joined is None or self.joined_bias is None:
            return
        weight: Tensor = self.base.weight
        now = [(x.data_ptr(), x._version) for x in (weight, self.base.bias) if x is not None]
        if now == self._copied:
            return
        n_out = len(self.minus_up)
        self.joined[:n_out] = weight.t() if type(self.base) is Conv1D else weight
        if self.base.bias is not None:
            self.joined_bias[:n_out] = self.base.bias
        self._copied = now


def join_within(layers: Sequence[AdaptedLinear], most_bytes: int) -> None:
    """Copy the weights of all layers, if that takes at most so many bytes."""
    needed = [layer.joined_bytes for layer in layers]
    if all(n is not None for n in needed) and sum(n or 0 for n in needed) <= most_bytes:
        for layer in layers:
            layer.join()


@torch.no_grad()
def refresh(layers: Sequence[AdaptedLinear]) -> None:
    """Copy the weights of the adapters, which an optimizer may have changed."""
    if not layers:
        return
    for layer in layers:
        layer.copy_base()
    sources = [weight for layer in layers for weight in layer.sources]
    torch._foreach_copy_([x for layer in layers for x in (layer.down, layer.minus_up)], sources)
    torch._foreach_mul_([layer.minus_up for layer in layers], [-layer.scale for layer in layers])


def lean_layer(layer: nn.Module, dtype: torch.dtype) -> nn.Module | None:
    """Return what computes a layer's output as its adapter is now; None where PEFT must do it."""
    peft: Any = layer
    if type(layer) is not PeftLinear or peft.merged:
        return None
    active = [name for name in peft.active_adapters if name in peft.lora_A]
    if peft.disable_adapters or not active:
        return cast(nn.Module, peft.base_layer)
    name = active[0]
    plain = len(active) == 1 and name not in peft.lora_variant
    plain = plain and peft.lora_B[name].bias is None
    plain = plain and isinstance(peft.lora_dropout[name], nn.Identity)
    return AdaptedLinear(peft, name, dtype) if plain else None


def adapter_state(lm: CausalLM) -> Hashable:
    """What decides which adapter the layers use now; a recording is bound to it.

    Layers of every kind that PEFT wraps count: also quantized ones, and embeddings.
    """
    if lm.adapter is None:
        return None
    layers = lm.layers.adapted(lm.adapter)
    return tuple((m.disable_adapters, m.merged, tuple(m.active_adapters)) for m in layers)
