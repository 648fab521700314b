"""A tiny model with an adapter, and trees of one recorded shape."""

from __future__ import annotations

import torch

from contraflow.models.causal_lm import CausalLM
from contraflow.models.recorded.recorded_trees import RecordedTrees
from contraflow.models.token_tree import TokenTree
from contraflow.policy.lora import LoraPolicy
from contraflow.seeding import torch_rng
from contraflow.settings.models import LoraConfig
from support.models import fresh_lm
from support.tables import small_policy

HEADER = "who wrote"
TEXTS = [[[3, 4, 5], [3, 4, 6, 7]], [[8, 9], [5]], [[4, 4, 4, 4, 4], [6, 5, 4]]]


def adapted_policy() -> LoraPolicy:
    """A tiny GPT-2 whose adapter has an effect."""
    policy = small_policy(fresh_lm("gpt2"), lora=LoraConfig(r=4, alpha=8))
    rng = torch_rng(0)
    with torch.no_grad():
        for weight in policy.lm.model.parameters():
            if weight.requires_grad:
                weight.normal_(std=0.3, generator=rng)
    return policy


def trees_of(lm: CausalLM, trees: RecordedTrees) -> list[TokenTree]:
    return [TokenTree.of(texts, lm.device, multiple=trees.multiple) for texts in TEXTS]


def gradients(policy: LoraPolicy, hidden: torch.Tensor) -> list[torch.Tensor]:
    weights = [p for p in policy.lm.model.parameters() if p.requires_grad]
    weighted = hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)
    return list(torch.autograd.grad(weighted.sum(), weights))
