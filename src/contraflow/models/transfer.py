"""Copies between host and device: as few as possible, and to a GPU without waiting for it.

Every plain copy to or from a GPU waits until the GPU has done all work so far, and until then no
further work is queued. A copy to the GPU from pinned memory is queued like a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ALIGNMENT = 16  # bytes; views of other types must start at a multiple of their size


def to_device(host: Tensor, device: torch.device | str | None) -> Tensor:
    """Copy a tensor from the host to a device; a GPU gets it without waiting."""
    if device is None or torch.device(device).type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


class HostCopy:
    """A copy of a tensor in host memory, which a GPU makes when it has done its work so far."""

    def __init__(self, tensor: Tensor) -> None:
        self._done: torch.cuda.Event | None = None
        if tensor.device.type != "cuda":
            self._host = tensor.clone()
            return
        self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._host.copy_(tensor, non_blocking=True)
        self._done = torch.cuda.Event()
        self._done.record()

    def wait(self) -> Tensor:
        """The copy; waits for the work that was queued before it, not for what was queued since."""
        if self._done is not None:
            self._done.synchronize()
        return self._host


def packed_to_device(
    arrays: Sequence[np.ndarray[Any, Any]], device: torch.device | str | None
) -> list[Tensor]:
    """Copy several arrays to a device at once; the tensors share one block of memory there.

    On a CPU they share the memory of the arrays.
    """
    if device is None or torch.device(device).type == "cpu":
        return [torch.from_numpy(array) for array in arrays]
    starts = []
    size = 0
    for array in arrays:
        starts.append(size)
        size += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    block = np.zeros(size, dtype=np.uint8)
    for start, array in zip(starts, arrays, strict=True):
        block[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    moved = to_device(torch.from_numpy(block), device)
    return [
        moved[start : start + array.nbytes].view(_DTYPES[array.dtype.name]).view(array.shape)
        for start, array in zip(starts, arrays, strict=True)
    ]


_DTYPES = {"int64": torch.int64, "float32": torch.float32, "bool": torch.bool}
