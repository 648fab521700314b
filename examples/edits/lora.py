"""A LoRA edit (Hu et al. 2021) that is trained on the edits and on facts to keep.

minimize −log p(new | prompt of an edit) − κ log p(old | prompt of a fact to keep). Without the
second term an edit of rank 8 breaks most other facts. A prompt is a fact's own, followed by its
answer, or its plain question, followed by its statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from examples.edits.targets import Targets, target_log_probs


@dataclass(frozen=True)
class LoraEdit:
    """Settings; training stops when three steps together have `enough` nats a token."""

    rank: int = 8
    alpha: float = 16.0
    modules: tuple[str, ...] = ("q_proj", "v_proj", "down_proj")
    lr: float = 1e-3
    max_steps: int = 40
    edits_per_step: int = 12
    keep_per_step: int = 8
    keep_weight: float = 1.0
    enough: float = 0.1


def lora_edit(
    model: Any,
    edits: Targets,
    keep: Targets,
    settings: LoraEdit,
    seed: int = 0,
    on_step: Callable[[float], None] | None = None,
) -> PeftModel:
    """Put an adapter around the model and train it; `on_step` gets the loss of the edits."""
    adapter = add_adapter(model, settings, seed)
    weights = [p for p in adapter.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=settings.lr)
    rng = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    for _ in range(settings.max_steps):
        loss = -target_log_probs(model, some_rows(edits, settings.edits_per_step, rng)).mean()
        losses.append(loss.item())
        if on_step is not None:
            on_step(losses[-1])
        if len(losses) >= 3 and sum(losses[-3:]) / 3 <= settings.enough:
            break
        kept = -target_log_probs(model, some_rows(keep, settings.keep_per_step, rng)).mean()
        optimizer.zero_grad()
        (loss + settings.keep_weight * kept).backward()
        optimizer.step()
    return adapter


def add_adapter(model: Any, settings: LoraEdit, seed: int) -> PeftModel:
    """A fresh adapter, which changes nothing yet; its initial weights depend on the seed alone."""
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=list(settings.modules),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def some_rows(batch: Targets, n: int, rng: torch.Generator) -> Targets:
    """n different rows of a batch."""
    rows = torch.randperm(len(batch.ids), generator=rng)[:n]
    return Targets(batch.ids[rows], batch.real[rows], batch.is_target[rows])
