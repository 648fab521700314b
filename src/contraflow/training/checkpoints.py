"""Checkpoints on disk: written atomically, read back strictly."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from contraflow.policy.lora import LoraPolicy
from contraflow.system.checkpoint_file import read_checkpoint
from contraflow.system.files import write_atomically
from contraflow.training.module import SamplerModule


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside the old one, then rename it.

    Lightning writes to the system's temporary folder first and copies from there over the old
    checkpoint. That folder may be on a smaller disk, and a killed process leaves its file there.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Raises: UserError when the disk refuses; the old checkpoint is untouched then."""
        if storage_options is not None:
            raise TypeError("there are no storage options for a local file")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(path, buffer.getbuffer())


def load_trained(policy: LoraPolicy, path: Path) -> None:
    """Load a checkpoint's adapter and flow head into a policy."""
    state = read_checkpoint(path, policy.lm.device)["state_dict"]
    parts = dict(SamplerModule.trained_parts(policy).named_parameters(prefix="lora"))
    with torch.no_grad():
        for name, value in state.items():
            parts[name].copy_(value)


def step_of(path: Path) -> int:
    """The step that a checkpoint continues at; 0 without a checkpoint."""
    if not path.is_file():
        return 0
    return int(read_checkpoint(path)["global_step"])
