"""The trained tensors of a policy as safetensors bytes: a version of the adapter that travels."""

from __future__ import annotations

import torch
from safetensors.torch import load, save
from torch import Tensor

from contraflow.policy.lora import LoraPolicy


def weights_of(policy: LoraPolicy) -> bytes:
    """Return adapter and flow heads; every name and shape is that of the policy."""
    return save({name: t.detach().cpu().contiguous() for name, t in _trained(policy).items()})


@torch.no_grad()
def load_weights(policy: LoraPolicy, data: bytes) -> None:
    """Copy a version into a policy, in place: recorded CUDA graphs keep their addresses.

    Raises: ValueError, changing nothing, where names or shapes differ.
    """
    own = _trained(policy)
    theirs = load(data)
    for name in sorted({*own, *theirs}):
        ours, given = (tuple(t[name].shape) if name in t else "absent" for t in (own, theirs))
        if ours != given:
            raise ValueError(f"{name} is {given} in the version and {ours} in the policy")
    for name, tensor in own.items():
        tensor.copy_(theirs[name])


def _trained(policy: LoraPolicy) -> dict[str, Tensor]:
    named = policy.lm.model.named_parameters()
    adapter = {f"adapter.{name}": p for name, p in named if p.requires_grad}
    return adapter | {f"flow.{name}": p for name, p in policy.flow.state_dict().items()}
