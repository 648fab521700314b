"""Gradient checkpointing that keeps the shared header: a layer runs again in the backward pass,
seeing the same prefix.

transformers' own switch will not do here. It acts in training mode only, which would bring dropout
back, and it runs a layer again after `attending_to` has ended: without the header's keys, the
gradient would be that of another prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from contraflow.models.architecture import unsupported
from contraflow.models.attention import active_prefix, attending_to


def recompute_layers(model: nn.Module) -> None:
    """From now on a differentiable pass keeps each layer's input only, and runs the layer again for
    its gradient.

    Passes without gradients, or with a cache, are as before. Raises: UserError for a model without
    such layers.
    """
    layers = [
        module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)
    ]
    if not layers:
        raise unsupported(
            type(model).__name__, "model.gradient_checkpointing=true finds no layers to recompute"
        )
    for layer in layers:
        layer.forward = partial(_forward, layer.forward)


def _forward(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # A second run would write the same keys into a cache once more.
    cached = any(isinstance(value, Cache) for value in (*args, *kwargs.values()))
    if cached or not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    prefix = active_prefix()

    def again(
        *inputs: Any,
    ) -> Any:  # on a GPU in a thread of its own, where no context variable is set
        with attending_to(prefix):
            return forward(*inputs, **kwargs)

    return checkpoint(again, *args, use_reentrant=False, preserve_rng_state=False)
