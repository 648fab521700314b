"""Checkpoints on disk: written whole or not at all, read back strictly."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from contraflow.policy.lora import LoraPolicy
from contraflow.system.files import write_atomically
from contraflow.training.module import SamplerModule


class AtomicCheckpointIO(TorchCheckpointIO):
    """Beside the old one and renamed.

    Lightning's own go through the system's temporary folder, which may be another, smaller disk,
    and where a kill leaves them for good; from there they are copied over the old one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Raises: UserError if the disk refuses; the old checkpoint is whole then."""
        if storage_options is not None:
            raise TypeError("there are no storage options for a local file")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(path, buffer.getbuffer())


def load_trained(policy: LoraPolicy, path: Path) -> None:
    """Put a checkpoint's adapter and flow head into a policy."""
    state = torch.load(path, map_location=policy.lm.device, weights_only=True)["state_dict"]
    parts = dict(SamplerModule.trained_parts(policy).named_parameters(prefix="lora"))
    with torch.no_grad():
        for name, value in state.items():
            parts[name].copy_(value)


def step_of(path: Path) -> int:
    """The step to go on from; 0 where there is no checkpoint."""
    if not path.is_file():
        return 0
    return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])
