"""Counts how often the host reads a value of a tensor; on a GPU it would wait each time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# A value is read, or decides the size of the result.
READS = (
    "_local_scalar_dense",
    "_unique2",
    "equal",
    "masked_select",
    "nonzero",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
)


class HostReads(TorchDispatchMode):
    """Within the block, counts operations that would wait for a GPU, by name.

    Conversions to lists and arrays dispatch no operation on a CPU, so they are counted by
    replacing the methods of `torch.Tensor`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        self._methods = {name: getattr(Tensor, name) for name in ("tolist", "numpy")}

    @property
    def n(self) -> int:
        """All reads together."""
        return self.seen.total()

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        if name in READS or (name.startswith("index") and _by_mask(args)):
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> HostReads:
        for name, method in self._methods.items():
            setattr(Tensor, name, self._counted(name, method))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for name, method in self._methods.items():
            setattr(Tensor, name, method)

    def _counted(self, name: str, method: Any) -> Any:
        def counted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            self.seen[name] += 1
            return method(tensor, *args, **kwargs)

        return counted


def _by_mask(args: Any) -> bool:
    """Whether an index of an indexing operation is a mask, whose size depends on its values."""
    indices = [x for arg in args[1:2] if isinstance(arg, list | tuple) for x in arg]
    return any(isinstance(x, Tensor) and x.dtype == torch.bool for x in indices)
