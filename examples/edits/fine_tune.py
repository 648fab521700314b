"""Constrained fine-tuning (Zhu et al. 2020, "Modifying Memories in Transformer Models").

One matrix W is trained on all edits at once, and after each step every entry is put back into
W_0 ± ε: minimize −log p(new answer | own prompt) subject to ‖W − W_0‖_∞ ≤ ε.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from examples.edits.targets import Targets, target_log_probs


@dataclass(frozen=True)
class FineTuning:
    """Settings; `enough` is the mean surprise in nats a token at which training stops."""

    layer: int = 8
    lr: float = 2e-3
    max_steps: int = 32
    epsilon: float = 3e-2
    enough: float = 0.1


def mlp_projection(model: Any, layer: int) -> nn.Linear:
    """The second matrix of a layer's MLP, [d_model, d_mlp], which the literature edits."""
    return cast(nn.Linear, model.base_model.layers[layer].mlp.down_proj)


def projection_name(layer: int) -> str:
    """Its name among the model's tensors."""
    return f"model.layers.{layer}.mlp.down_proj.weight"


def fine_tune(
    model: Any,
    batch: Targets,
    settings: FineTuning,
    on_step: Callable[[float], None] | None = None,
) -> None:
    """Edit the model in place; `on_step` gets the loss before each step, in nats a token."""
    weight = mlp_projection(model, settings.layer).weight
    before = weight.detach().clone()
    weight.requires_grad_(True)
    optimizer = torch.optim.Adam([weight], lr=settings.lr)
    for _ in range(settings.max_steps):
        loss = -target_log_probs(model, batch).mean()
        if on_step is not None:
            on_step(loss.item())
        if loss.item() <= settings.enough:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            weight.clamp_(before - settings.epsilon, before + settings.epsilon)
    weight.requires_grad_(False)
    weight.grad = None
