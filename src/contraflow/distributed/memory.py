"""The peak memory of every rank, gathered at the end of training."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from contraflow.distributed.messages import RankMemory, decode, encode
from contraflow.distributed.ranks import Ranks
from contraflow.system.memory import peak_memory


def gather_memory(ranks: Ranks, holds: str, gpu_peak_bytes: int) -> list[RankMemory]:
    """Collective. Returns every rank's memory in rank order on rank 0, an empty list on others."""
    own = RankMemory(ranks.rank, holds, platform.node(), peak_memory(), gpu_peak_bytes)
    return [decode(data, RankMemory) for data in ranks.gather(encode(own), "memory at the end")]


def memory_lines(memory: Sequence[RankMemory]) -> list[str]:
    """One log line per rank."""
    lines = []
    for rank in memory:
        line = f"rank {rank.rank} ({rank.holds}) on {rank.host}: "
        line += f"peak memory {rank.peak_bytes / 2**20:.0f} MiB"
        if rank.gpu_peak_bytes:
            line += f", GPU {rank.gpu_peak_bytes / 2**20:.0f} MiB"
        lines.append(line)
    return lines
