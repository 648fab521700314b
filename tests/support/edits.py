"""Edits of the tiny models: adapters, deltas and wrappers, with questions that show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from contraflow.settings import Config, ModelConfig, OracleConfig, PromptConfig
from support.models import save_tiny_model, tiny_model

QUESTIONS = ["who is hamlet ?", "what is the capital of rome in the city of hamlet ?", "wrote ?"]
EXAMPLES = "ask : who is rome\nfact : the city\nask : {question}\nfact :"
N_TOKENS = 6


def asking_config(**model: Any) -> Config:
    """Settings of short answers behind `EXAMPLES`, on the CPU."""
    return Config(
        model=ModelConfig(device="cpu", **model),
        prompt=PromptConfig(task="fact : {edit_fact}\nask :", answer=EXAMPLES),
        oracle=OracleConfig(max_answer_tokens=N_TOKENS, batch_size=2),
    )


def tiny_adapter(architecture: str, seed: int = 0) -> peft.PeftModel:
    """A tiny model with a LoRA adapter that changes what it says."""
    model = tiny_model(architecture)
    torch.manual_seed(seed)
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    return peft.get_peft_model(model, config).eval()


def save_tiny_adapter(
    architecture: str, folder: Path, base: str | None = None, seed: int = 0
) -> Path:
    """Save an adapter; `base` is the name of its base in adapter_config.json."""
    adapter = tiny_adapter(architecture, seed)
    adapter.peft_config["default"].base_model_name_or_path = base
    adapter.save_pretrained(str(folder))
    return folder


def edited_tensors(architecture: str, seed: int = 0) -> dict[str, Tensor]:
    """Two tensors of a tiny model, changed enough to change its answers."""
    generator = torch.Generator().manual_seed(seed)
    state = dict(tiny_model(architecture).named_parameters())
    names = [name for name in state if name.endswith("weight") and state[name].ndim == 2]
    return {
        name: state[name].detach() + torch.randn(state[name].shape, generator=generator)
        for name in (names[-2], names[-1])
    }


def save_delta(architecture: str, file: Path, seed: int = 0) -> Path:
    """Write a delta file."""
    save_file(edited_tensors(architecture, seed), file)
    return file


def edited_model(architecture: str, seed: int = 0) -> nn.Module:
    """A tiny model that has the tensors of the delta."""
    model = tiny_model(architecture)
    model.load_state_dict(edited_tensors(architecture, seed), strict=False)
    return model


def save_edited(architecture: str, folder: Path, seed: int = 0) -> Path:
    """Save the whole edited model, as an editor of weights does."""
    save_tiny_model(architecture, folder)
    edited_model(architecture, seed).save_pretrained(folder)
    return folder


class Wrapper(nn.Module):
    """What editors such as WISE return: no transformers model, and positional inputs are lost."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *_lost: Any, **inputs: Any) -> Any:
        return self.model(**inputs)

    def generate(self, *_lost: Any, **inputs: Any) -> Any:
        return self.model.generate(**inputs)  # type: ignore[operator]
