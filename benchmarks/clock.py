"""Seconds of phases on a device that works behind the host's back, and what its memory can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Seconds of named phases; a GPU is waited for before and after."""

    def __init__(self, device: torch.device, now: Callable[[], float] = time.perf_counter) -> None:
        self.device, self.now = device, now
        self.found: dict[str, list[float]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._wait()
        begun = self.now()
        yield
        self._wait()
        self.found.setdefault(name, []).append(self.now() - begun)

    def total(self, name: str) -> float:
        """Seconds of all its turns; 0 of a phase that there was none of."""
        return sum(self.found.get(name, []))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def copy_bandwidth(device: torch.device, size: int) -> float:
    """Bytes a second that a copy of so many bytes reads and writes; the best of ten."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target, clock = torch.empty_like(source), Clock(device)
    for _ in range(10):
        with clock.phase("copy"):
            target.copy_(source)
    return 2 * source.numel() / min(clock.found["copy"])
