"""A linear layer with an adapter that is being trained, in three kernels.

PEFT computes an adapter in its own precision, float32, with casts, a scale and an addition: eight
kernels. Here base(x) + scale · x A^T B^T is in the precision of the layer, which is also that of
decoding (`adapted_linear.py`); A, B and their gradients stay in float32.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from jaxtyping import Float
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import Tensor, nn
from torch.nn import functional


def install(module: nn.Module) -> None:
    """Let the adapters in a module compute this way; whatever is not plain LoRA is left to PEFT."""
    for layer in module.modules():
        if type(layer) is PeftLinear:
            layer.forward = MethodType(_forward, layer)


def _forward(layer: Any, x: Float[Tensor, "*s i"], *args: Any, **kwargs: Any) -> Tensor:
    name = None if args or kwargs else _plain_adapter(layer)
    if name is None:
        out: Tensor = PeftLinear.forward(layer, x, *args, **kwargs)
        return out
    out = layer.base_layer(x)
    a = layer.lora_A[name].weight.to(x.dtype)
    b = layer.lora_B[name].weight.to(x.dtype)
    low_rank = functional.linear(x, a).flatten(0, -2)
    scale = layer.scaling[name]
    return torch.addmm(out.flatten(0, -2), low_rank, b.t(), alpha=scale).view_as(out)


def _plain_adapter(layer: Any) -> str | None:
    """The one adapter that is on, if it is a pair of matrices and nothing else."""
    if layer.disable_adapters or layer.merged:
        return None
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(active) != 1 or active[0] in layer.lora_variant:
        return None
    name: str = active[0]
    plain = layer.lora_A[name].bias is None and layer.lora_B[name].bias is None
    return name if plain and isinstance(layer.lora_dropout[name], nn.Identity) else None
