"""The program of each of two ranks: `support.two_ranks:main` with a folder.

It saves the gradients of `support.union`, then trains one tiny run per kind of exchange and saves
what each step sampled.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import torch

from contraflow.distributed.rank_info import rank_info_from_environment
from contraflow.distributed.ranks import RankGroup
from contraflow.run import build
from contraflow.settings import ExchangeConfig, ExplorationConfig, ReplayConfig
from contraflow.training import job
from contraflow.training.module import SamplerModule
from support import runs
from support.models import fresh_lm
from support.tables import RecordingJudge, RecordingOracle, arbitrary_log_c
from support.union import CASES, SHARDS, clips_of, gradients_after_a_step

STORES = {"broadcast": "memory", "scatter": "embedded", "symmetric": "memory"}


def union_gradients(folder: Path, rank: int) -> None:
    """Save the gradients of this rank's shard, for each case and clip."""
    place = rank_info_from_environment()
    assert place is not None
    ranks = RankGroup(place, 60.0)
    found = {
        (name, clip): gradients_after_a_step(name, SHARDS[rank], ranks, folder, clip)
        for name in CASES
        for clip in clips_of(name)
    }
    torch.save(found, folder / f"gradients-{rank}.pt")
    ranks.close()


def whole_run(folder: Path, rank: int, kind: str) -> None:
    """Train a run with this kind of exchange, and save its steps."""
    built: list[str] = []
    steps: list[dict[str, Any]] = []

    def part(name: str, made: Any) -> Any:
        built.append(name)
        return made

    build.load_lm = lambda *_, **__: part("lm", fresh_lm())
    build.load_oracle = lambda *_: part("oracle", RecordingOracle())
    build.load_judge = lambda *_: part("judge", RecordingJudge(arbitrary_log_c))
    original = SamplerModule.training_step

    def training_step(self: SamplerModule, item: Any, index: int) -> Any:
        loss = original(self, item, index)
        assert self.outcome is not None
        batch = self.outcome.batch
        steps.append(
            {
                "given": [f.fact_id for f in item.facts],
                "about": [batch.facts[i].fact_id for i in batch.fact_index.tolist()],
                "edit_fact": [batch.facts[i].edit_fact for i in batch.fact_index.tolist()],
                "scored": msgspec.to_builtins(batch.scored),
                "log_pf": self.outcome.log_pf.tolist(),
                "weights": torch.cat([p.detach().flatten() for p in self.lora.parameters()]),
                "replayed": batch.n_replayed,
            }
        )
        return loss

    SamplerModule.training_step = training_step
    config = runs.tiny_config(folder, kind)
    config = replace(
        config,
        exchange=ExchangeConfig(kind=kind, timeout_s=60.0),
        exploration=ExplorationConfig(n_samples=4, use_buffer_prob=0.4),
        replay=ReplayConfig(store=STORES[kind]),
    )
    job.train(config)
    SamplerModule.training_step = original
    torch.save({"built": built, "steps": steps}, folder / f"{kind}-{rank}.pt")


def main(words: list[str]) -> int:
    warnings.filterwarnings("ignore")
    folder, rank = Path(words[0]), rank_info_from_environment().rank  # type: ignore[union-attr]
    job.write_report = lambda folder: folder / "report.html"
    job.print_summary = lambda *_: None
    union_gradients(folder, rank)
    for kind in STORES:
        whole_run(folder, rank, kind)
    return 0
