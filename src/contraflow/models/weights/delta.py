"""A weight delta: a safetensors file of tensors that replace those of a model by name.

Most editors change one or a few matrices. Kept as a file of these alone, an edit of a model of
14 GB is some 100 MB, and edited and unedited model are one set of weights in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.models.weights.sources import check_delta_file
from contraflow.models.weights.weight_states import detached, named_tensors


@dataclass(frozen=True)
class Replacement:
    """A tensor of a module, by its name, and what takes its place."""

    name: str
    target: Tensor
    data: Tensor


def read_delta(file: Path) -> dict[str, Tensor]:
    """The tensors of a delta file by name. Raises: UserError."""
    check_delta_file(file)
    return load_file(file)


def replacements(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str
) -> list[Replacement]:
    """Find the tensor that each one of a delta replaces.

    Args:
        source: where the tensors come from, for messages.
    Raises: UserError naming the first tensor whose name, shape or dtype does not fit,
        or that is not finite.
    """
    if not tensors:
        raise UserError(
            f"{source}: holds no tensors, so edited and original model would be one; an editor "
            "that returns none keeps its edit elsewhere: give both models"
        )
    of_model = named_tensors(module)
    return [_replacement(of_model, name, data, source) for name, data in tensors.items()]


def _replacement(
    of_model: Mapping[str, Tensor], name: str, data: Tensor, source: str
) -> Replacement:
    target = of_model.get(name)
    if target is None:
        similar = [known for known in of_model if known.split(".")[-2:] == name.split(".")[-2:]]
        instead = f" (it has {similar[0]})" if similar else f" (it has {next(iter(of_model))})"
        raise UserError(
            f"{source}: the model has no tensor {name}{instead}; a delta replaces tensors of its "
            "control by name"
        )
    if target.shape != data.shape:
        raise UserError(
            f"{source}: {name} has shape {tuple(data.shape)}, in the model {tuple(target.shape)}; "
            "is the delta of another model?"
        )
    if target.dtype != data.dtype:
        raise UserError(
            f"{source}: {name} is {_short(data.dtype)}, in the model {_short(target.dtype)}; save "
            f"the delta in the model's dtype, or load the model as {_short(data.dtype)} "
            "(model.dtype)"
        )
    if not bool(data.isfinite().all()):
        raise UserError(
            f"{source}: {name} has numbers that are not finite, so the edit has diverged; edit "
            "again, for example with a smaller step or in float32"
        )
    return Replacement(name, target, detached(data, target))


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
