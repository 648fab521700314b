"""Which tensors a delta replaces, and the first that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from contraflow.errors import UserError
from contraflow.models.weights.delta import read_delta, replacements
from contraflow.models.weights.weight_states import with_tensors
from support.edits import edited_model, edited_tensors, save_delta, tiny_adapter
from support.models import tiny_model

DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_delta_makes_the_edited_model(architecture: str, tmp_path: Path):
    model = tiny_model(architecture)
    file = save_delta(architecture, tmp_path / "delta.safetensors")
    found = replacements(model, read_delta(file), str(file))
    assert {each.name for each in found} == set(edited_tensors(architecture))
    ids = torch.tensor([[3, 4, 5]])
    before = model(ids).logits
    with with_tensors([(each.target, each.data) for each in found])():
        torch.testing.assert_close(model(ids).logits, edited_model(architecture)(ids).logits)
    torch.testing.assert_close(model(ids).logits, before, atol=0, rtol=0)


def test_it_fits_a_backbone_that_carries_an_adapter():
    inner = tiny_adapter("llama").get_base_model()
    [found] = replacements(inner, {DOWN: edited_tensors("llama")[DOWN]}, "d")
    assert found.target is inner.model.layers[1].mlp.down_proj.base_layer.weight


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "holds no tensors, so edited and original model would be one"),
        (
            {"transformer.h.1.mlp.down_proj.weight": torch.zeros(32, 48)},
            r"no tensor transformer\.h\.1\.mlp\.down_proj\.weight \(it has model\.layers\.0\.mlp",
        ),
        (
            {DOWN: torch.zeros(48, 32)},
            rf"{DOWN} has shape \(48, 32\), in the model \(32, 48\); is the delta of another",
        ),
        (
            {DOWN: torch.zeros(32, 48, dtype=torch.bfloat16)},
            rf"{DOWN} is bfloat16, in the model float32; .*or load the model as bfloat16",
        ),
    ],
)
def test_the_first_that_does_not_fit_is_named(tensors: dict[str, torch.Tensor], message: str):
    with pytest.raises(UserError, match=f"^mine: .*{message}"):
        replacements(tiny_model("llama"), tensors, "mine")


def test_numbers_that_are_not_finite_are_refused_by_name() -> None:
    data = edited_tensors("llama")[DOWN].clone()
    data[1, 2] = torch.nan
    with pytest.raises(UserError, match=rf"^edits/d: {DOWN} has numbers that are not finite"):
        replacements(tiny_model("llama"), {DOWN: data}, "edits/d")
