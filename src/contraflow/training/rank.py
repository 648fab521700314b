"""The fit of one rank: what it draws with, whom it asks, and the trainer around its steps.

A run of one process is a rank by itself. Lightning sees one device in every rank; what ranks
exchange, they exchange in the steps of the module (`exchange/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import msgspec
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from contraflow.distributed.broadcast import BroadcastExperience
from contraflow.distributed.memory import gather_memory, told
from contraflow.distributed.ranks import Ranks
from contraflow.distributed.scorer import SharedScorer
from contraflow.errors import UserError
from contraflow.experience.collect import Experience
from contraflow.experience.scorer import Scorer
from contraflow.experience.stream import FactStream
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.base import ReplayStore
from contraflow.reward.judge.scores import Judge
from contraflow.reward.schedule import RewardSchedule
from contraflow.run import build
from contraflow.settings import Config
from contraflow.system.files import write_atomically
from contraflow.system.progress import say
from contraflow.training.checkpoints import AtomicCheckpointIO
from contraflow.training.module import SamplerModule
from contraflow.types import Oracle


@dataclass(frozen=True)
class Parts:
    """What a rank trains with; oracle and judge are None on a rank that asks rank 0."""

    config: Config
    ranks: Ranks
    policy: LoraPolicy
    oracle: Oracle | None
    judge: Judge | None
    replay: ReplayStore
    reward: RewardSchedule
    train_facts: Sequence[Fact]

    @property
    def exchange(self) -> str:
        return self.config.exchange.kind if self.ranks.size > 1 else "local"


def sampler_module(parts: Parts) -> SamplerModule:
    """The module of one rank."""
    config = parts.config
    return SamplerModule(
        parts.policy,
        _experience(parts),
        parts.reward,
        build.build_objective(config),
        config.optimizer,
        n_steps=config.trainer.n_steps,
        forward_looking=config.objective.forward_looking,
        ranks=parts.ranks,
        replay_is_shared=config.replay.store != "memory",
    )


def _experience(parts: Parts) -> Experience:
    settings, seed, ranks = parts.config.exploration, parts.config.seed, parts.ranks
    name = build.sampler_fingerprint(parts.config)
    policy, oracle, judge = parts.policy, parts.oracle, parts.judge
    scorer = (
        SharedScorer(policy, oracle, judge, ranks, sampler=name)
        if parts.exchange == "scatter"
        else Scorer(policy, oracle, judge, sampler=name)
    )
    held = policy, scorer, parts.replay, parts.reward, settings
    if parts.exchange == "broadcast":
        return BroadcastExperience(*held, seed=seed, ranks=ranks)
    return Experience(*held, seed=seed, rank=ranks.rank)


def facts_of_rank(parts: Parts) -> FactStream:
    """Each rank's own share of the training facts, always the same; all of them where all have one
    batch.

    Raises: UserError when there are fewer facts than ranks.
    """
    facts, config, size = parts.train_facts, parts.config, parts.ranks.size
    if len(facts) < size:
        raise UserError(
            f"{len(facts)} training facts do not go round {size} ranks; give more facts, or fewer trainer.devices"
        )
    mine = facts if parts.exchange == "broadcast" else facts[parts.ranks.rank :: size]
    return FactStream(mine, config.trainer.facts_per_step, config.trainer.n_steps, config.seed)


def trainer_for(
    parts: Parts, folder: Path, callbacks: list[Callback], loggers: list[Logger]
) -> L.Trainer:
    """One device, the whole length of the run, nothing but our callbacks."""
    config, device = parts.config, parts.policy.lm.device
    on_gpu = device.type == "cuda"
    return L.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=[device.index or 0] if on_gpu else 1,
        # Ranks are ours: whatever launched us, each trainer is alone.
        plugins=[LightningEnvironment(), AtomicCheckpointIO()],
        max_steps=config.trainer.n_steps,
        max_epochs=1,
        gradient_clip_val=config.optimizer.grad_clip,
        logger=loggers,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=folder,
    )


def prefix_cost(config: Config) -> str:
    """Said before it starts: what prefix rewards ask of oracle and judge, against one answer a
    question.
    """
    n = config.trainer.facts_per_step * config.exploration.n_samples
    least, most = config.policy.min_question_len, config.policy.max_question_len
    return (
        f"objective={config.objective.name}: every prefix of {least} to {most} tokens is a question too, so a "
        f"step asks for up to {n * (most - least + 1)} answers and judgements instead of {n} (equal ones once)"
    )


def record_memory(parts: Parts, path: Path) -> None:
    """Write and say what each rank held and took; every other rank is to send its own."""
    memory = gather_memory(parts.ranks, held(parts), peak_gpu_memory(parts.policy.lm.device))
    write_atomically(path, msgspec.json.format(msgspec.json.encode(memory)))
    for line in told(memory):
        say(line)


def held(parts: Parts) -> str:
    """What a rank holds, in words."""
    return "sampler only" if parts.judge is None else "sampler, oracle and judge"


def peak_gpu_memory(device: torch.device) -> int:
    """Bytes that tensors had at most on this rank's GPU; 0 without one."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
