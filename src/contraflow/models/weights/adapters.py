"""PEFT adapters on a base that is in memory: whether they fit, adding them, and their identity."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from peft.utils import load_peft_weights
from safetensors import SafetensorError
from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.models.weights.identity import file_digest
from contraflow.models.weights.sources import ADAPTER_CONFIG

# What an adapter's config says of its origin and of training, and not of what it computes.
_NOT_CONTENT = (
    "base_model_name_or_path",
    "inference_mode",
    "peft_version",
    "revision",
    "auto_mapping",
)


def adapter_identity(folder: Path, base: str) -> str:
    """Identity of an adapter on a base: both contents, as ``BASE+16 hex digits``."""
    config = json.loads((folder / ADAPTER_CONFIG).read_bytes())
    kept = {key: value for key, value in config.items() if key not in _NOT_CONTENT}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    for file in sorted(folder.glob("adapter_model.*")):
        digest.update(f"{file.suffix}\0{file_digest(file)}\0".encode())
    return f"{base}+{digest.hexdigest()[:16]}"


def adapter_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of an adapter. Raises: UserError for files that are damaged."""
    try:
        weights = load_peft_weights(str(folder), device="cpu")
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"{folder}: the adapter was cut or damaged ({reason}); copy it again"
        ) from None
    if not weights:
        raise UserError(f"{folder}: the adapter holds no tensors; save it with save_pretrained")
    return dict(weights)


def first_misfit(module: nn.Module, weights: Mapping[str, Tensor]) -> str | None:
    """The first tensor of a LoRA adapter that has no place in a module, and why; None if all fit.

    Tensors of other kinds of adapters are left to PEFT.
    """
    parts = {name.replace(".base_layer", ""): part for name, part in module.named_modules()}
    for key, tensor in weights.items():
        name, found, side = key.removeprefix("base_model.model.").partition(".lora_")
        if not found or side not in ("A.weight", "B.weight") or tensor.ndim != 2:
            continue
        weight = getattr(parts.get(name), "weight", None)
        if weight is None:
            return f"{name} is not in the model"
        size = tensor.shape[1] if side == "A.weight" else tensor.shape[0]
        if size not in weight.shape:
            return f"{key} has shape {tuple(tensor.shape)}, {name} {tuple(weight.shape)}"
    return None


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Hide a deprecation of transformers that PEFT causes and a user cannot mend."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def add_adapter(module: nn.Module, peft_model: Any, folder: Path, name: str) -> Any:
    """Add an adapter to a module; returns the PeftModel around it, with every adapter off.

    Args:
        peft_model: the PeftModel that is around the module already, if any.
    Raises: UserError when the adapter does not fit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on adapters beside each other, and on missing keys
            if peft_model is None:
                peft_model = PeftModel.from_pretrained(module, str(folder), adapter_name=name)
            else:
                peft_model.load_adapter(str(folder), adapter_name=name)
    except (RuntimeError, ValueError, KeyError, OSError, SafetensorError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{folder}: the adapter does not fit its base ({reason}); name the base that it was "
            "trained on"
        ) from error
    peft_model.eval().requires_grad_(False)
    if not is_prompt_adapter(folder):
        peft_model.base_model.disable_adapter_layers()
    return peft_model


def is_prompt_adapter(folder: Path) -> bool:
    """Whether an adapter puts trained tokens before the text, and changes no layer of its base.

    Raises: UserError for a kind of adapter that the installed PEFT does not know.
    """
    try:
        return bool(PeftConfig.from_pretrained(str(folder)).is_prompt_learning)
    except (ValueError, KeyError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{folder}: PEFT cannot read the adapter ({reason})") from error
