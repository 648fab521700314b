"""How much memory a rank has taken."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from contraflow.distributed.messages import RankMemory, decode, encode
from contraflow.distributed.ranks import Ranks
from contraflow.system.memory import peak_memory


def gather_memory(ranks: Ranks, holds: str, gpu_peak_bytes: int) -> list[RankMemory]:
    """On rank 0 what every rank held and took, in their order; on others nothing."""
    mine = RankMemory(ranks.rank, holds, platform.node(), peak_memory(), gpu_peak_bytes)
    return [decode(data, RankMemory) for data in ranks.gather(encode(mine), "memory at the end")]


def memory_lines(memory: Sequence[RankMemory]) -> list[str]:
    """One line a rank."""
    return [
        f"rank {m.rank} ({m.holds}) on {m.host}: peak memory {m.peak_bytes / 2**20:.0f} MiB"
        + (f", GPU {m.gpu_peak_bytes / 2**20:.0f} MiB" if m.gpu_peak_bytes else "")
        for m in memory
    ]
