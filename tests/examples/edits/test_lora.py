"""The LoRA edit: the base stays, the edits are learned, the facts to keep hold."""

from __future__ import annotations

import torch

from examples.edits.lora import LoraEdit, add_adapter, lora_edit
from examples.edits.targets import encode_targets, target_log_probs
from support.models import tiny_model, word_tokenizer

EDITS = encode_targets(word_tokenizer(), ["the capital of rome is"], ["hamlet"])
KEEP = encode_targets(word_tokenizer(), ["who wrote hamlet", "the city is in"], ["rome", "fact"])
SETTINGS = LoraEdit(rank=4, alpha=8.0, lr=0.02, max_steps=60, enough=0.3)


def test_edits_are_learned_and_the_base_stays() -> None:
    model = tiny_model("llama").requires_grad_(False)
    losses: list[float] = []
    adapter = lora_edit(model, EDITS, KEEP, SETTINGS, on_step=losses.append)
    assert losses[0] > 1.0
    assert sum(losses[-3:]) / 3 <= SETTINGS.enough
    unedited = tiny_model("llama")
    with torch.no_grad(), adapter.disable_adapter():
        expected = unedited(EDITS.ids).logits
        torch.testing.assert_close(model(EDITS.ids).logits, expected)


def test_facts_to_keep_hold_only_where_they_count() -> None:
    """The kept answers, unlikely at first, are learned with weight 1 and not with weight 0."""
    surprise = {}
    for weight in (0.0, 1.0):
        model = tiny_model("llama").requires_grad_(False)
        settings = LoraEdit(rank=4, alpha=8.0, lr=0.02, max_steps=60, keep_weight=weight, enough=0)
        lora_edit(model, EDITS, KEEP, settings)
        surprise[weight] = -target_log_probs(model, KEEP).mean().item()
    assert surprise[1.0] < 0.5 < surprise[0.0]


def test_a_fresh_adapter_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = add_adapter(tiny_model("llama"), SETTINGS, seed=3).state_dict()
    torch.manual_seed(2)
    second = add_adapter(tiny_model("llama"), SETTINGS, seed=3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    third = add_adapter(tiny_model("llama"), SETTINGS, seed=4).state_dict()
    assert not all(torch.equal(first[name], third[name]) for name in first)
