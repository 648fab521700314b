"""Layers that a model does not have are refused by name, with those that it has."""

from __future__ import annotations

import peft
import pytest
from transformers import CohereConfig, CohereForCausalLM

from contraflow.errors import UserError
from contraflow.policy.targets import check_targets
from support.models import ARCHITECTURES, tiny_model

LLAMA = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (["nope"], "[nope]: the model has no layer 'nope'"),
        (["q_proj", "nope"], "[q_proj,nope]: the model has no layer 'nope'"),
        (["proj"], "[proj]: the model has no layer 'proj'"),
        (["all-linear", "q_proj"], "the model has no layer 'all-linear'"),
        (["self_attn"], "[self_attn]: 'self_attn' is a block of layers"),
        ([], "[]: names no layer"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(targets: list[str], reason: str) -> None:
    with pytest.raises(UserError) as caught:
        check_targets(tiny_model("llama"), targets)
    assert str(caught.value).startswith("model.lora.target_modules=")
    assert reason in str(caught.value)
    assert str(caught.value).endswith(f"choose from {LLAMA}, or [all-linear]")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_peft_takes_each_layer_that_is_proposed(architecture: str) -> None:
    with pytest.raises(UserError) as caught:
        check_targets(tiny_model(architecture), ["nope"])
    proposed = str(caught.value).partition("choose from ")[2].partition(", or ")[0].split(", ")
    for name in proposed:
        model = tiny_model(architecture)
        check_targets(model, [name])
        adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=[name]))
        assert any(f".{name}.lora_A" in key for key, _ in adapted.named_parameters())


@pytest.mark.parametrize("targets", [None, ["all-linear"], ["layers.0.self_attn.q_proj"]])
def test_defaults_and_longer_names_are_taken(targets: list[str] | None) -> None:
    check_targets(tiny_model("llama"), targets)


def test_a_default_that_peft_has_not_is_refused() -> None:
    """PEFT would say so only when the adapter is made."""
    config = CohereConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    model = CohereForCausalLM(config)
    with pytest.raises(ValueError, match="target_modules"):
        peft.get_peft_model(model, peft.LoraConfig())
    with pytest.raises(UserError) as caught:
        check_targets(model, None)
    assert str(caught.value) == (
        "model.lora.target_modules=null: PEFT has no default for models of type 'cohere'; "
        f"choose from {LLAMA}, or [all-linear]"
    )
    check_targets(model, ["q_proj"])
