"""Other weights and another attention for a while, and nothing left of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contraflow.models.attention import shared_prefix
from contraflow.models.weights.weight_states import (
    State,
    adapter_off,
    adapter_on,
    attention_of,
    borrowed,
    in_order,
    named_tensors,
    restoring,
    with_attention,
    with_tensors,
)
from support.edits import tiny_adapter
from support.models import tiny_model


def looks(module: nn.Module) -> list[object]:
    """All that a caller could notice, tensors by their address and content."""
    parts = [
        (name, part.training, len(part._forward_hooks)) for name, part in module.named_modules()
    ]
    tensors = [
        (name, p.requires_grad, p.data_ptr(), p.detach().sum().item())
        for name, p in module.named_parameters()
    ]
    return [parts, tensors, [value for _, value in attention_of(module).values()]]


def states(module: nn.Module) -> list[State]:
    shared_prefix.install()
    first = next(iter(module.parameters()))
    return [
        borrowed(module),
        with_tensors([(first, torch.zeros_like(first))]),
        with_attention(module, shared_prefix.NAME),
        in_order(borrowed(module), with_attention(module, "eager")),
    ]


@pytest.mark.parametrize("number", range(4))
def test_nothing_is_left_after_a_state(number: int):
    """Also after an error inside, and of parts that were not in one mode."""
    module = tiny_model("llama")
    module.train()
    module.model.layers[0].eval()
    module.lm_head.requires_grad_(False)
    before = looks(module)
    state = states(module)[number]
    with pytest.raises(ZeroDivisionError), state():
        assert looks(module) != before
        _ = 1 / 0
    assert looks(module) == before


def test_exchanged_tensors_are_used_and_not_copied():
    module = tiny_model("gpt2")
    ids = torch.tensor([[3, 4, 5]])
    name, target = next(
        (n, t) for n, t in named_tensors(module).items() if n.endswith("mlp.c_proj.weight")
    )
    data = torch.randn_like(target)
    other = tiny_model("gpt2")
    other.load_state_dict({name: data}, strict=False)
    with torch.no_grad(), with_tensors([(target, data)])():
        assert target.data_ptr() == data.data_ptr()
        torch.testing.assert_close(module(ids).logits, other(ids).logits)


def test_an_adapter_is_on_or_off_for_the_block():
    adapted = tiny_adapter("llama")
    adapted.train()
    ids = torch.tensor([[3, 4, 5]])
    before = looks(adapted)
    with torch.no_grad():
        edited = adapted(ids).logits
        with adapter_off(adapted)():
            torch.testing.assert_close(adapted(ids).logits, tiny_model("llama")(ids).logits)
        assert looks(adapted) == before
        adapted.base_model.disable_adapter_layers()
        with adapter_on(adapted, "default")():
            torch.testing.assert_close(adapted(ids).logits, edited)
        torch.testing.assert_close(adapted(ids).logits, tiny_model("llama")(ids).logits)


def test_an_earlier_attention_comes_back_for_a_block():
    module = tiny_model("llama")
    earlier = attention_of(module)
    shared_prefix.install()
    module.set_attn_implementation(shared_prefix.NAME)
    with restoring(earlier)():
        assert module.config._attn_implementation == "sdpa"
    assert module.config._attn_implementation == shared_prefix.NAME


def test_names_are_those_without_an_adapter():
    plain = set(named_tensors(tiny_model("llama")))
    adapted = set(named_tensors(tiny_adapter("llama").get_base_model()))
    assert plain <= adapted
    assert all("lora_" in name for name in adapted - plain)
