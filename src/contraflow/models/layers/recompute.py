"""Gradient checkpointing that keeps the shared prefix.

Each layer runs again in the backward pass, with the same prefix. The gradient checkpointing of
transformers cannot be used: it is active in training mode only, which would enable dropout, and it
runs a layer again after `sharing_prefix` has ended, so the gradient would be that of a prompt
without the header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from contraflow.models.attention.architecture import unsupported
from contraflow.models.attention.shared_prefix import active_prefix, sharing_prefix


def recompute_layers(model: nn.Module) -> None:
    """Make each layer store only its input and run again in the backward pass.

    Passes without gradients and passes with a cache are unchanged.

    Raises: UserError when the model has no layers that can be recomputed.
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


def recomputes(layers: Iterable[nn.Module]) -> bool:
    """Whether some of the layers run again in the backward pass."""
    forwards = (layer.__dict__.get("forward") for layer in layers)
    return any(isinstance(f, partial) and f.func is _forward for f in forwards)


def _forward(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # A second run would append the same keys to a cache again.
    cached = any(isinstance(value, Cache) for value in (*args, *kwargs.values()))
    if cached or not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    prefix = active_prefix()

    # On a GPU the backward pass has its own thread, where the prefix's context variable is unset.
    def run_with_prefix(*inputs: Any) -> Any:
        with sharing_prefix(prefix):
            return forward(*inputs, **kwargs)

    return checkpoint(run_with_prefix, *args, use_reentrant=False, preserve_rng_state=False)
