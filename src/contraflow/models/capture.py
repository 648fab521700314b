"""CUDA graphs: record a fixed sequence of GPU kernels once and launch it as one.

This is the only part of decoding that runs on a GPU alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

# Libraries choose kernels and allocate workspaces in their first calls; neither may be recorded.
WARM_UPS = 3


class CaptureFailed(Exception):
    """The decoding step could not be recorded; the message is CUDA's."""


@dataclass(frozen=True)
class Recording:
    """A step to run.

    pool: the memory of the tensors inside the recording, for other recordings that never run at
        the same time; None where nothing was recorded.
    """

    run: Callable[[], None]
    pool: Any = None


def captured(step: Callable[[], None], device: torch.device, pool: Any = None) -> Recording:
    """Record a step on a GPU; elsewhere it is run as it is.

    `step` must only read and write tensors whose addresses do not change.

    Args:
        pool: of a recording that still exists, to share its memory.

    Raises: CaptureFailed when CUDA refused the recording.
    """
    return captured_in_turn([step], device, pool)[0]


def captured_in_turn(
    steps: Sequence[Callable[[], None]], device: torch.device, pool: Any = None
) -> list[Recording]:
    """Record steps of which each one needs what the one before has left, such as a forward and a
    backward pass. They share their memory and must be run in this order.

    Raises: CaptureFailed when CUDA refused a recording.
    """
    if device.type != "cuda":
        return [Recording(step) for step in steps]
    pool = torch.cuda.graph_pool_handle() if pool is None else pool
    with torch.cuda.device(device):
        before = torch.cuda.current_stream()
        try:
            return _record(steps, pool)
        except RuntimeError as error:
            reason = first_line(error.__context__ or error)
        # A refused recording leaves its stream current and, before PyTorch 2.12, its memory open.
        torch.cuda.set_stream(before)
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
    raise CaptureFailed(reason)


def free_memory() -> None:
    """Give back what a refused recording has left. Call it outside of the handler of its error."""
    if torch.cuda.is_available():
        with suppress(RuntimeError):  # some versions cannot after a refusal
            torch.cuda.empty_cache()


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind if there is none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _record(steps: Sequence[Callable[[], None]], pool: Any) -> list[Recording]:
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        for _ in range(WARM_UPS):
            for step in steps:
                step()
    torch.cuda.current_stream().wait_stream(side_stream)
    recordings = []
    for step in steps:
        graph = torch.cuda.CUDAGraph()
        # "thread_local": other threads, such as NCCL's watchdog, may use the GPU meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            step()
        recordings.append(Recording(graph.replay, pool))
    return recordings
