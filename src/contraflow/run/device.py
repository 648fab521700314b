"""The GPU that a config names, looked for before a model is loaded."""

from __future__ import annotations

import torch

from contraflow.errors import UserError
from contraflow.settings import Config


def check_device(config: Config) -> None:
    """Check that this machine has the GPU of `model.device`. Raises: UserError with the remedy."""
    kind, _, number = config.model.device.partition(":")
    if kind != "cuda":
        return
    n_gpus = torch.cuda.device_count()
    if n_gpus == 0:
        raise UserError(
            f"model.device={config.model.device}: {_why_no_gpu()}; "
            "use model.device=cpu, or auto, which takes a GPU where there is one"
        )
    if number and int(number) >= n_gpus:
        raise UserError(
            f"model.device={config.model.device}: the GPUs here are numbered 0 to {n_gpus - 1}; "
            "use one of these, cuda for the first, or cpu"
        )


def _why_no_gpu() -> str:
    if not torch.backends.cuda.is_built():
        return f"this PyTorch ({torch.__version__}) is built for the CPU only"
    return "PyTorch finds no GPU here"
