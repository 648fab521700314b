"""Load causal language models from folders and the hub, as the settings of a config say."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from contraflow.errors import UserError
from contraflow.models.causal_lm import CausalLM
from contraflow.models.layers.recompute import recompute_layers
from contraflow.models.probe import checked_lm
from contraflow.models.weights.identity import model_identity
from contraflow.models.weights.quantized import keep_differentiable, quantization_arguments
from contraflow.models.weights.resolve import resolve_model
from contraflow.reward.oracle.local import Base
from contraflow.run.device import check_device
from contraflow.settings import Config


def device_of(config: Config) -> torch.device:
    """The device of a config; ``auto`` is a GPU where there is one."""
    if config.model.device != "auto":
        return torch.device(config.model.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_lm(config: Config, name: str | None = None, kind: str = "sampler") -> CausalLM:
    """Load a causal language model that can be sampled from, frozen and in eval mode.

    Args:
        name: a checkpoint other than `model.name`.
        kind: what the model is for, named in errors.
    Raises: UserError for a model that does not exist, cannot be loaded, or is not supported.
    """
    base = load_base(config, name or config.model.name, kind)
    return checked_lm(
        base.module, base.tokenizer, base.identity, decoding=base.decoding, compiling=base.compiling
    )


def load_base(config: Config, name: str, kind: str) -> Base:
    """Load any causal language model with its tokenizer, frozen and in eval mode.

    Raises: UserError for a GPU that is not here, and for a model that does not exist or cannot be
        loaded.
    """
    check_device(config)
    c = config.model
    device = device_of(config)
    dtype = getattr(torch, c.dtype)
    quantization = {} if c.quantize is None else quantization_arguments(c.quantize, dtype, device)
    folder = resolve_model(name, kind)
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **quantization)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:160]
        raise UserError(f"{kind} {name}: cannot load a causal LM ({reason})") from error
    if quantization:  # bitsandbytes has put the weights on the device
        keep_differentiable(model)
    else:
        model.to(device)
    model.eval().requires_grad_(False)
    if c.gradient_checkpointing and kind == "sampler":
        recompute_layers(model)
    decoding: Any = c.decoding  # each is one of three words, by ModelConfig
    compiling: Any = c.compile
    identity = model_identity(folder, dtype=c.dtype, quantize=c.quantize)
    return Base.of(model, tokenizer, identity, decoding, compiling)
