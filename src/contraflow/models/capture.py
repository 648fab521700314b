"""CUDA graphs: record a fixed sequence of GPU kernels once and launch it as one.

This is the only part of decoding that runs on a GPU alone.
"""

from __future__ import annotations

from collections.abc import Callable
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
    if device.type != "cuda":
        return Recording(step)
    try:
        with torch.cuda.device(device):
            return _record(step, pool)
    except RuntimeError as error:
        raise CaptureFailed(str(error).splitlines()[0]) from error


def _record(step: Callable[[], None], pool: Any) -> Recording:
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        for _ in range(WARM_UPS):
            step()
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    # "thread_local": other threads, such as NCCL's watchdog, may use the GPU during the recording.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        step()
    return Recording(graph.replay, graph.pool())
