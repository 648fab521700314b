"""A short profile of each phase: the kernels that take longest, and how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch.profiler import ProfilerActivity, profile


@dataclass
class Kernels:
    """Calls and milliseconds of each kernel of a phase; on a CPU, of each operation."""

    calls: dict[str, int] = field(default_factory=dict)
    ms: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, ms: float) -> None:
        """Count one call."""
        self.calls[name] = self.calls.get(name, 0) + 1
        self.ms[name] = self.ms.get(name, 0.0) + ms

    @property
    def n_calls(self) -> int:
        return sum(self.calls.values())

    @property
    def total_ms(self) -> float:
        return sum(self.ms.values())

    def longest(self, n: int) -> list[tuple[str, int, float]]:
        """Name, calls and milliseconds of the n that take longest."""
        names = sorted(self.ms, key=lambda name: -self.ms[name])[:n]
        return [(name, self.calls[name], self.ms[name]) for name in names]


class Profiler:
    """Profiles the blocks of phases."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.found: dict[str, Kernels] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Profile the block."""
        on_gpu = self.device.type == "cuda"
        activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
        with profile(activities=[activity]) as profiler:
            yield
            if on_gpu:
                torch.cuda.synchronize(self.device)
        wanted = "CUDA" if on_gpu else "CPU"
        kernels = self.found.setdefault(name, Kernels())
        for event in profiler.events():
            if event.device_type.name == wanted:
                own = event.time_range.elapsed_us() if on_gpu else event.self_cpu_time_total
                kernels.add(event.name, own / 1e3)
