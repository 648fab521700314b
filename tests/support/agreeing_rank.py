"""One of two ranks that agree on how gradients travel: `support.agreeing_rank:main`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

from contraflow.distributed.rank_info import rank_info_from_environment
from contraflow.distributed.ranks import RankGroup


def main(words: list[str]) -> int:
    """Write what this rank found into a folder; the rank with the given number has a GPU."""
    folder, with_gpu = Path(words[0]), int(words[1])
    info = rank_info_from_environment()
    assert info is not None
    gpu = torch.device("cuda", 0) if info.rank == with_gpu else None
    started = time.monotonic()
    ranks = RankGroup(info, 60.0, gpu=gpu)
    total = ranks.all_reduce(torch.tensor([1.0 + info.rank]), "sum").item()
    seconds = time.monotonic() - started
    ranks.close()
    found = {"device": str(ranks._device), "total": total, "seconds": seconds}
    (folder / f"{info.rank}.json").write_text(json.dumps(found))
    return 0
