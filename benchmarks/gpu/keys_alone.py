"""Loading the keys of prompts by itself: by operations of PyTorch, and by one kernel a block."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache

from benchmarks.gpu.attention_alone import Row, Where
from contraflow.models.decoding import cache_memory
from contraflow.models.decoding.cache_memory import Block, CacheMemory, FusedGather, PackedKeys
from contraflow.models.prefilled import cache_of_one_pass


@dataclass(frozen=True)
class KeysShape:
    """A token tree of rows and nodes, loaded into so many texts of `width` of `length`."""

    rows: int
    nodes: int
    heads: int
    dim: int
    texts: int
    width: int
    length: int


class Keys:
    """Loading keys of a random token tree into the blocks of a step."""

    def __init__(self, where: Where, shape: KeysShape) -> None:
        self._where = where
        self._shape = shape
        rng = torch.Generator(where.device).manual_seed(0)
        self._cache = self._random_cache(rng)
        self._nodes = self._random_nodes(rng)
        self._wanted: list[Block] = []

    def _random_cache(self, rng: torch.Generator) -> DynamicCache:
        """Keys and values as parts of one product, as GPT-2's are."""
        s, where = self._shape, self._where
        cache = cache_of_one_pass()
        for number in range(where.layers):
            width = 3 * s.heads * s.dim
            product = torch.randn(s.rows, s.nodes, width, generator=rng, device=where.device)
            heads = product.to(where.dtype).view(s.rows, s.nodes, 3, s.heads, s.dim)
            keys, values = (heads[:, :, part].transpose(1, 2) for part in (1, 2))
            cache.update(keys, values, number)
        return cache

    def _random_nodes(self, rng: torch.Generator) -> Int[Tensor, "n w"]:
        s, device = self._shape, self._where.device
        shape = (s.texts, s.width)
        column = torch.randint(0, s.nodes, shape, generator=rng, device=device).sort(1).values
        row = torch.randint(0, s.rows, (s.texts, 1), generator=rng, device=device)
        return row * s.nodes + column

    def by_operations(self) -> Row:
        """Times of the operations; what they write is kept."""
        self._wanted, row = self._run(FusedGather(cache_memory.triton_gather, "none"))
        return row

    def by_kernel(self, words: int) -> Row:
        """Times of the kernel with so many words a program, and whether it writes the same bits.

        Call `by_operations` before.
        """
        from contraflow.models.attention import triton_keys

        fused = FusedGather(cache_memory.triton_gather, self._where.device.type)
        with _set(triton_keys, "WORDS", words):
            found, row = self._run(fused)
        same = (
            torch.equal(a.states.view(torch.uint8), b.states.view(torch.uint8))
            for a, b in zip(self._wanted, found, strict=True)
        )
        return {**row, "right": fused.fills and all(same)}

    def _run(self, fused: FusedGather) -> tuple[list[Block], Row]:
        """The blocks after loading, and medians: milliseconds of the device and of the host."""
        s = self._shape
        packed = PackedKeys.of(self._cache, self._nodes)
        blocks = CacheMemory(self._cache, s.texts * s.length).blocks(s.texts, s.length)
        with _set(cache_memory, "FUSED", fused):
            packed.write_to(blocks)
            before = self._allocated(reset=True)
            times = [
                self._timed(lambda: packed.write_to(blocks)) for _ in range(self._where.repeats)
            ]
        ms, host_ms = (statistics.median(some) for some in zip(*times, strict=True))
        moved = 2 * sum(block.states[:, :, :, : s.width].nbytes for block in blocks)
        return blocks, {
            "ms": round(ms, 3),
            "host_ms": round(host_ms, 3),
            "GB_per_s": round(moved / ms / 1e6, 1),
            "extra_MiB": round((self._allocated() - before) / 2**20, 1),
        }

    def _allocated(self, *, reset: bool = False) -> int:
        """Bytes at the peak, or now with `reset`."""
        if self._where.device.type != "cuda":
            return 0
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()

    def _timed(self, run: Callable[[], None]) -> tuple[float, float]:
        """Milliseconds of the device, and of the host."""
        if self._where.device.type != "cuda":
            started = time.perf_counter()
            run()
            ms = 1e3 * (time.perf_counter() - started)
            return ms, ms
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        torch.cuda._sleep(20_000_000)  # the host queues meanwhile: kernels are timed, not it
        start.record()
        started = time.perf_counter()
        run()
        host_ms = 1e3 * (time.perf_counter() - started)
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end), host_ms


@contextmanager
def _set(module: Any, name: str, value: Any) -> Iterator[None]:
    """Set a variable of a module within the block."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
