"""The layers that `model.lora.target_modules` names, compared with those of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from torch import nn
from transformers.pytorch_utils import Conv1D

from contraflow.errors import UserError

ALL_LINEAR = "all-linear"


def check_targets(model: nn.Module, targets: Sequence[str] | None) -> None:
    """Check that each name is that of a layer, by its last parts as PEFT compares them.

    None is PEFT's default for the architecture, and [all-linear] is every linear layer.

    Raises: UserError that names the first other one and what a model of this kind has.
    """
    if targets is not None and list(targets) == [ALL_LINEAR]:
        return
    remedy = f"choose from {', '.join(_linear_names(model))}, or [{ALL_LINEAR}]"
    if targets is None:
        _check_default(model, remedy)
        return
    key = f"model.lora.target_modules=[{','.join(targets)}]"
    if not targets:
        raise UserError(f"{key}: names no layer; {remedy}")
    for target in targets:
        named = [
            module
            for name, module in model.named_modules()
            if name == target or name.endswith(f".{target}")
        ]
        if not named:
            raise UserError(f"{key}: the model has no layer {target!r}; {remedy}")
        if all(any(module.children()) for module in named):
            raise UserError(f"{key}: {target!r} is a block of layers, not a layer; {remedy}")


def _check_default(model: nn.Module, remedy: str) -> None:
    config: Any = model.config
    if config.model_type not in TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING:
        raise UserError(
            "model.lora.target_modules=null: PEFT has no default for models of type "
            f"{config.model_type!r}; {remedy}"
        )


def _linear_names(model: nn.Module) -> list[str]:
    """The last parts of the names of linear layers, the LM head's left out, in their order."""
    get_head: Any = getattr(model, "get_output_embeddings", None)
    head = None if get_head is None else get_head()
    names = [
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head
    ]
    return list(dict.fromkeys(names))
