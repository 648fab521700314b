"""A CPU that stands for a GPU, to count how often the host would wait for it.

Tensors that the package creates with an explicit device, or sends there, are of a type of their
own, and so is everything computed from them. Reading one of them from the host is a wait, and so is
an operation on them whose shape depends on values. A plain copy to the device is a wait too. What
PyTorch does within one of its functions, in C++, is not seen; that takes a GPU
(`benchmarks/gpu/syncs.py`).
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from contraflow.models import transfer

_TO_HOST = {"cpu", "numpy", "tolist", "item", "__bool__", "__int__", "__float__", "__index__"}
_BY_VALUE = {"nonzero", "unique", "unique_consecutive", "masked_select", "bincount", "equal"}
_NEW_FROM_HOST = {"tensor", "as_tensor"}


class OnDevice(Tensor):
    """A tensor in the memory of the device."""


def _on_device(x: Any) -> Any:
    return x.as_subclass(OnDevice) if isinstance(x, Tensor) else x


def _on_host(x: Any) -> Any:
    return x.as_subclass(Tensor) if isinstance(x, OnDevice) else x


class Waits(TorchFunctionMode):
    """Counts waits by the place in the source that causes them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_function__(
        self, func: Any, _types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.__name__
        out = func(*args, **kwargs)
        has_device = isinstance(kwargs.get("device"), torch.device)
        reads = any(isinstance(x, OnDevice) for x in args)
        if reads and (name in _TO_HOST or name in _BY_VALUE or _by_mask(name, args)):
            self._count(name)
        if reads and name == "repeat_interleave" and isinstance(args[-1], OnDevice):
            self._count(name)
        if has_device and name in _NEW_FROM_HOST and out.numel():  # nothing need not be copied
            self._count(name)
        if name in _TO_HOST:
            return _on_host(out)
        return _on_device(out) if has_device else out

    def _count(self, name: str) -> None:
        frames = [f for f in traceback.extract_stack() if "contraflow" in f.filename]
        place = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else "?"
        self.found[f"{name} {place}"] += 1


def _by_mask(name: str, args: Sequence[Any]) -> bool:
    if name not in ("__getitem__", "__setitem__") or len(args) < 2:
        return False
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    return any(isinstance(x, Tensor) and x.dtype == torch.bool for x in index)


@contextmanager
def counted_waits(patch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """Count within the block."""
    packed = transfer.packed_to_device
    single = transfer.to_device

    def packed_to_device(arrays: Any, device: Any) -> list[Tensor]:
        return [_on_device(x) if device != "cpu" else x for x in packed(arrays, device)]

    def to_device(host: Tensor, device: Any) -> Tensor:
        return _on_device(single(host, device)) if device not in ("cpu", None) else host

    for owner in _importers("packed_to_device"):
        patch.setattr(owner, "packed_to_device", packed_to_device)
    for owner in _importers("to_device"):
        patch.setattr(owner, "to_device", to_device)
    waits = Waits()
    with waits:
        yield waits


def _importers(name: str) -> list[Any]:
    modules = [m for key, m in sys.modules.items() if key.startswith("contraflow")]
    return [m for m in modules if hasattr(m, name)]
