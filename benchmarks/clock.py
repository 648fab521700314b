"""Seconds of phases on a device that works asynchronously, and the bandwidth of its memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Collects the seconds of named phases. A GPU is synchronized before and after each."""

    def __init__(self, device: torch.device, now: Callable[[], float] = time.perf_counter) -> None:
        self.device = device
        self.now = now
        self.found: dict[str, list[float]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block and add it to the seconds of this phase."""
        self._synchronize()
        started = self.now()
        yield
        self._synchronize()
        self.found.setdefault(name, []).append(self.now() - started)

    def total(self, name: str) -> float:
        """Seconds of all blocks of a phase; 0 for a phase that never ran."""
        return sum(self.found.get(name, []))

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def copy_bandwidth(device: torch.device, size: int) -> float:
    """Bytes per second that a copy of ``size`` bytes reads and writes: the best of ten."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    clock = Clock(device)
    for _ in range(10):
        with clock.phase("copy"):
            target.copy_(source)
    return 2 * source.numel() / min(clock.found["copy"])
