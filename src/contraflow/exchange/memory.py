"""How much memory a rank has taken."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from contraflow.exchange.messages import RankMemory, decode, encode
from contraflow.exchange.ranks import Ranks


def peak_memory() -> int:
    """The most bytes that this process had in memory at once."""
    status = Path("/proc/self/status")
    # ru_maxrss is inherited from the process that launched us, where that was larger.
    lines = status.read_text().splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def gather_memory(ranks: Ranks, holds: str, gpu_peak_bytes: int) -> list[RankMemory]:
    """On rank 0 what every rank held and took, in their order; on others nothing."""
    mine = RankMemory(ranks.rank, holds, platform.node(), peak_memory(), gpu_peak_bytes)
    return [decode(data, RankMemory) for data in ranks.gather(encode(mine), "memory at the end")]


def told(memory: Sequence[RankMemory]) -> list[str]:
    """One line a rank."""
    return [
        f"rank {m.rank} ({m.holds}) on {m.host}: peak memory {m.peak_bytes / 2**20:.0f} MiB"
        + (f", GPU {m.gpu_peak_bytes / 2**20:.0f} MiB" if m.gpu_peak_bytes else "")
        for m in memory
    ]
