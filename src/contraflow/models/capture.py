"""A fixed sequence of GPU kernels, recorded once and started as one: a CUDA graph.

This is the only code of the decoder that runs nowhere but on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UPS = 3  # libraries choose kernels and allocate workspaces in their first calls, which may not be recorded


class CaptureFailed(Exception):
    """The steps could not be recorded; the message is CUDA's."""


def captured(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """What to call in the place of ``step``: a replay of it on a GPU, itself elsewhere.

    ``step`` must only read and write tensors that stay where they are. Raises: CaptureFailed.
    """
    if device.type != "cuda":
        return step
    try:
        with torch.cuda.device(device):
            return _record(step)
    except RuntimeError as error:
        raise CaptureFailed(str(error).splitlines()[0]) from error


def _record(step: Callable[[], None]) -> Callable[[], None]:
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UPS):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    # other threads (NCCL's watchdog is one) may talk to the GPU meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay
