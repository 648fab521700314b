"""The training of one rank: its learner, its module, its facts, and the trainer around its steps.

A run of one process is a rank by itself. Lightning sees one device in every rank; ranks communicate
inside the steps of the module (`distributed/`).
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

from contraflow.actors.follower import FollowerExperience
from contraflow.distributed.broadcast import BroadcastExperience
from contraflow.distributed.memory import gather_memory, memory_lines
from contraflow.distributed.ranks import Ranks
from contraflow.distributed.scorer import SharedScorer
from contraflow.experience.collect import Experience
from contraflow.experience.scorer import Scorer
from contraflow.experience.stream import FactStream
from contraflow.facts import Fact
from contraflow.gflownet.objectives import Objective
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.base import ReplayStore
from contraflow.run.build import Parts
from contraflow.run.fingerprint import sampler_fingerprint
from contraflow.run.learning import build_exploration, build_objective
from contraflow.run.own_objects import NO_OWN, OwnObjects
from contraflow.settings import Config
from contraflow.system.files import write_atomically
from contraflow.system.progress import print_line
from contraflow.training.checkpoints import AtomicCheckpointIO
from contraflow.training.joining import require_fact_for_each
from contraflow.training.loss import StepLoss
from contraflow.training.module import SamplerModule


@dataclass(frozen=True)
class Learner:
    """Everything that one rank trains with; its oracle and judge are None where it asks rank 0."""

    config: Config  # the run's: the config of the parts names this rank's own device
    parts: Parts
    ranks: Ranks
    replay: ReplayStore
    train_facts: Sequence[Fact]
    own: OwnObjects = NO_OWN

    @property
    def objective(self) -> Objective:
        """The caller's own, or that of the config."""
        return build_objective(self.config) if self.own.objective is None else self.own.objective

    @property
    def objective_name(self) -> str:
        """What a log line calls it."""
        return self.own.shown.get("objective", self.config.objective.name)

    @property
    def exchange(self) -> str:
        """How ranks share their work; "local" where there is one rank."""
        return self.config.exchange.kind if self.ranks.size > 1 else "local"

    @property
    def held(self) -> str:
        """The models of this rank, for a log line."""
        return "sampler only" if self.parts.judge is None else "sampler, oracle and judge"


def sampler_module(learner: Learner, experience: Experience | None = None) -> SamplerModule:
    """The Lightning module of one rank; ``experience`` is that of the learner with the exchange."""
    config = learner.config
    n_steps = config.trainer.n_steps
    n_samples = config.exploration.n_samples
    return SamplerModule(
        learner.parts.policy,
        experience or _experience(learner),
        learner.parts.reward,
        StepLoss.of(learner.objective, config.objective, n_steps, n_samples),
        config.optimizer,
        n_steps=n_steps,
        forward_looking=config.objective.forward_looking,
        ranks=learner.ranks,
        replay_is_shared=config.replay.store != "memory",
        facts=learner.train_facts,
    )


def _experience(learner: Learner) -> Experience:
    config = learner.config
    parts = learner.parts
    ranks = learner.ranks
    fingerprint = sampler_fingerprint(config, learner.own)
    scorer = Scorer(parts.policy, parts.oracle, parts.judge, sampler=fingerprint)
    if learner.exchange in ("scatter", "actors"):
        scorer = SharedScorer(parts.policy, parts.oracle, parts.judge, ranks, sampler=fingerprint)
    exploration = build_exploration(config, learner.own.objective)
    shared = (parts.policy, scorer, learner.replay, parts.reward, exploration)
    if learner.exchange == "broadcast":
        return BroadcastExperience(
            *shared, seed=config.seed, ranks=ranks, replay_settings=config.replay
        )
    if learner.exchange == "actors":
        return FollowerExperience(*shared, seed=config.seed, ranks=ranks)
    return Experience(*shared, seed=config.seed, rank=ranks.rank, replay_settings=config.replay)


def fact_stream(learner: Learner) -> FactStream:
    """The facts of a rank: its own fixed share, or all of them where all ranks share one batch.

    Raises: UserError when there are fewer facts than ranks.
    """
    facts = learner.train_facts
    config = learner.config
    size = learner.ranks.size
    require_fact_for_each(len(facts), learner.ranks)
    own = facts if learner.exchange == "broadcast" else facts[learner.ranks.rank :: size]
    return FactStream(own, config.trainer.facts_per_step, config.trainer.n_steps, config.seed)


def trainer_for(
    learner: Learner, folder: Path, callbacks: list[Callback], loggers: list[Logger]
) -> L.Trainer:
    """A trainer on one device, for the whole length of the run, with our callbacks only."""
    device = learner.parts.policy.lm.device
    on_gpu = device.type == "cuda"
    return L.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=[device.index or 0] if on_gpu else 1,
        # Each trainer is alone, whatever launched the process: ranks communicate in the module.
        plugins=[LightningEnvironment(), AtomicCheckpointIO()],
        max_steps=learner.config.trainer.n_steps,
        max_epochs=1,
        gradient_clip_val=learner.config.optimizer.grad_clip,
        logger=loggers,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=folder,
    )


def prefix_cost(learner: Learner) -> str:
    """A line on what prefix rewards ask of oracle and judge, compared with one per question."""
    config = learner.config
    n = config.trainer.facts_per_step * config.exploration.n_samples
    least = config.policy.min_question_len
    most = config.policy.max_question_len
    return (
        f"objective={learner.objective_name}: every prefix of {least} to {most} tokens is a "
        "question "
        f"too, so a step asks for up to {n * (most - least + 1)} answers and judgements instead of "
        f"{n} (equal ones once)"
    )


def on_policy_note(learner: Learner) -> str:
    """A line on the settings that a policy gradient does not use."""
    return (
        f"objective={learner.objective_name} learns from draws of the policy at temperature 1, "
        "not from replay; exploration.use_buffer_prob and exploration.pf_temp_prob have no effect"
    )


def record_memory(learner: Learner, path: Path) -> None:
    """Write and log the peak memory of every rank. Collective: other ranks call `gather_memory`."""
    memory = gather_memory(learner.ranks, learner.held, peak_gpu_memory(learner.parts.policy))
    write_atomically(path, msgspec.json.format(msgspec.json.encode(memory)))
    for line in memory_lines(memory):
        print_line(line)


def peak_gpu_memory(policy: LoraPolicy) -> int:
    """The most bytes that tensors have taken on this rank's GPU; 0 without one."""
    device = policy.lm.device
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
