"""How often the host waits for the device.

On a GPU these are the waits that CUDA's sync debug mode reports: copies in either direction that do
not come from pinned memory, values that the host reads, and operations whose output has as many
rows as the device found. On a CPU the operations of the last two kinds are counted; a copy from the
device to the host is no operation there and cannot be seen.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Operations that read values on the host, or whose shape depends on values.
_WAITING = (
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten._unique2",
    "aten.unique_dim",
    "aten.unique_consecutive",
    "aten.masked_select",
    "aten.bincount",
    "aten.repeat_interleave.Tensor",
)


class WaitingOps(TorchDispatchMode):
    """Counts operations that would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if name.startswith(_WAITING) or _indexes_by_mask(name, args):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def _indexes_by_mask(name: str, args: tuple[Any, ...]) -> bool:
    """Whether the operation looks up where a mask is true."""
    if not name.startswith(("aten.index.", "aten.index_put", "aten._index_put")):
        return False
    return any(isinstance(x, Tensor) and x.dtype == torch.bool for x in args[1])


class SyncCounter:
    """Counts waits by phase."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.by_phase: Counter[str] = Counter()
        self.places: Counter[str] = Counter()  # file:line on a GPU, operation on a CPU

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's waits under a name."""
        self.by_phase[name] += 0
        if self.device.type == "cuda":
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                try:
                    yield
                finally:
                    torch.cuda.set_sync_debug_mode("default")
            waits = [w for w in caught if "synchroniz" in str(w.message)]
            found = Counter(f"{_short(w.filename)}:{w.lineno}" for w in waits)
        else:
            with WaitingOps() as ops:
                yield
            found = ops.found
        self.by_phase[name] += found.total()
        self.places += found


def _short(file: str) -> str:
    return "/".join(file.split("/")[-2:])
