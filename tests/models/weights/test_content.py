"""Identities of modules in memory: other weights, settings or tokenizers are another model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from contraflow.errors import UserError
from contraflow.models.weights.content import content_identity, module_digests, tensor_digest
from support.edits import Wrapper
from support.models import renamed_tokenizer, tiny_model, word_tokenizer


def identity_of(module: nn.Module, tokenizer: Any = None) -> str:
    return content_identity(module, tokenizer or word_tokenizer(), module_digests(module))


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_equal_models_have_one_identity(architecture: str):
    first, second = tiny_model(architecture), tiny_model(architecture)
    second.train()
    second.requires_grad_(False)
    second.set_attn_implementation("eager")
    tokenizer = word_tokenizer()
    tokenizer(["who", "who is"], padding=True, truncation=True, max_length=1)
    assert identity_of(first) == identity_of(second, tokenizer)


def bump(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.view(-1)[0] = torch.nextafter(tensor.view(-1)[0], torch.tensor(9.0))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a weight": lambda m: bump(m.model.layers[1].mlp.down_proj.weight),
    "a config": lambda m: setattr(m.config, "rms_norm_eps", 0.5),
    "the end of a text": lambda m: setattr(m.generation_config, "eos_token_id", [3]),
    "a dtype": lambda m: m.to(torch.bfloat16),
    "a tensor in an attribute": lambda m: setattr(m.model, "memory", [torch.ones(2)]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_another_identity(change: str):
    module = tiny_model("llama")
    before = identity_of(module)
    CHANGES[change](module)
    assert identity_of(module) != before


def test_a_tokenizer_is_part_of_the_identity():
    module = tiny_model("llama")
    identities = {identity_of(module), identity_of(module, renamed_tokenizer({4: "penned"}))}
    chats = word_tokenizer()
    chats.chat_template = "{{ messages }}"
    assert len(identities | {identity_of(module, chats)}) == 3


def test_wrappers_are_told_apart_by_what_they_hold():
    plain, edited = Wrapper(tiny_model("llama")), Wrapper(tiny_model("llama"))
    edited.memory = {"layer": torch.zeros(3)}
    assert identity_of(plain) != identity_of(edited)
    assert identity_of(plain) == identity_of(Wrapper(tiny_model("llama")))


def test_shape_and_dtype_count():
    zeros = [torch.zeros(2, 3), torch.zeros(3, 2), torch.zeros(6), torch.zeros(3, dtype=torch.long)]
    assert len({tensor_digest(tensor) for tensor in zeros}) == 4
    assert tensor_digest(torch.arange(6).view(2, 3).T) == tensor_digest(
        torch.tensor([[0, 3], [1, 4], [2, 5]])
    )


def test_offloaded_weights_are_refused():
    with pytest.raises(UserError, match=r"was offloaded.*load the model whole"):
        tensor_digest(torch.zeros(2, device="meta"))
