"""A loaded model must give our log-probabilities in its own forward pass, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from contraflow.errors import UserError
from contraflow.models.attention.architecture import max_positions
from contraflow.models.probe import checked_lm, log_probs
from contraflow.run import build
from contraflow.settings import ModelConfig
from support.families import tiny_config_of, tiny_model_of
from support.models import ARCHITECTURES, tiny_model, word_tokenizer
from support.runs import tiny_config

IDS = [4, 9, 3, 12, 7, 5, 16, 8, 4, 11]


def own_log_probs(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0].log_softmax(-1)


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("granite", "logits_scaling"),
        ("cohere", "logit_scale"),
        ("cohere2", "logit_scale"),
        ("gemma3_text", "final_logit_softcapping"),
        ("gemma4_text", "final_logit_softcapping"),
    ],
)
def test_logits_changed_after_the_head_are_exact(family: str, key: str):
    model = tiny_model_of(family)
    setattr(model.config, key, 0.25)
    if hasattr(model, key):  # Cohere reads it once
        setattr(model, key, 0.25)
    reference = own_log_probs(model)
    lm = checked_lm(model, word_tokenizer(), family)
    torch.testing.assert_close(log_probs(lm, IDS), reference, atol=1e-4, rtol=0)
    rows = torch.tensor([3, 9, 1])
    hidden = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lm.logits(hidden, rows), lm.logits(hidden)[:, rows])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_tested_models_pass_in_each_dtype(architecture: str, dtype: torch.dtype):
    checked_lm(tiny_model(architecture).to(dtype), word_tokenizer(), "x")


class Shifted(LlamaForCausalLM):
    """Adds a constant to one logit after the head, without a config key for it."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = super().forward(*args, **kwargs)
        out.logits[..., 3] += 2.0
        return out


def test_what_forward_adds_is_refused_with_the_nats():
    model = tiny_model("llama")
    model.__class__ = Shifted
    with pytest.raises(
        UserError, match=r"^Shifted cannot be .* 0\.\d+ nats from transformers' own"
    ):
        checked_lm(model, word_tokenizer(), "x")


def test_attention_in_both_directions_is_refused():
    config = tiny_config_of("bert-generation")
    config.is_decoder = False
    model = type(tiny_model_of("bert-generation"))(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    with pytest.raises(UserError, match=r"^BertGenerationDecoder cannot be .* nats from"):
        checked_lm(model, word_tokenizer(), "x")


def test_loading_a_folder_compares(tmp_path: Path):
    """HyperCLOVAX multiplies by the key by which Granite divides: 0.8 nats off."""
    tiny_model_of("hyperclovax").save_pretrained(tmp_path / "model")
    word_tokenizer().save_pretrained(tmp_path / "model")
    config = tiny_config(tmp_path, model=ModelConfig(name=str(tmp_path / "model"), device="cpu"))
    with pytest.raises(UserError, match=r"^HyperCLOVAXForCausalLM cannot be .* nats from"):
        build.load_lm(config)


def test_a_pass_that_fails_is_refused_by_name():
    """Llama 4 names a backbone that its text model does not have."""
    with pytest.raises(UserError, match=r"^Llama4ForCausalLM cannot be .*a pass over .* fails"):
        checked_lm(tiny_model_of("llama4_text"), word_tokenizer(), "x")


def test_weights_that_are_not_finite_are_refused():
    model = tiny_model("llama")
    with torch.no_grad():
        model.lm_head.weight[3] = torch.nan
    named = r"^LlamaForCausalLM: .* not finite, as its weight \S+ is not; it has diverged"
    with pytest.raises(UserError, match=named):
        checked_lm(model, word_tokenizer(), "x")
    model.name_or_path = "edits/rome"
    with pytest.raises(UserError, match=r"^edits/rome: its own log-probabilities"):
        checked_lm(model, word_tokenizer(), "x")


def test_a_window_inside_a_nested_config_bounds_the_text():
    """Gemma 3 with images keeps it in text_config; Llama 4 attends in chunks."""
    assert max_positions(tiny_config_of("gemma3")) == 20
    assert max_positions(tiny_config_of("llama4_text")) == 20
