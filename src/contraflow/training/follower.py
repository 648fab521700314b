"""The work of ranks other than 0: receive rank 0's plan, train in step with it, and leave.

They write nothing. They load an oracle and a judge only where every rank has its own
(`exchange=symmetric`). With actors they know neither Ray nor replay: rank 0 sends them questions.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from contraflow.distributed.memory import gather_memory
from contraflow.distributed.messages import Plan, decode
from contraflow.distributed.ranks import Ranks
from contraflow.errors import UserError
from contraflow.replay.base import ReplayStore
from contraflow.run.build import ALL_ROLES, assemble
from contraflow.run.own_objects import NO_OWN, OwnObjects
from contraflow.run.replay import open_replay
from contraflow.settings import Config
from contraflow.system import progress
from contraflow.system.budget import Budget
from contraflow.training.callbacks import ReplayOfAll
from contraflow.training.joining import on_own_gpu
from contraflow.training.publishing import Ratios
from contraflow.training.rank import (
    Learner,
    fact_stream,
    peak_gpu_memory,
    sampler_module,
    trainer_for,
)
from contraflow.training.stopping import GracefulStop, interruption

IS_FINISHED = "start"
CHECKED = "checks by rank 0 (files, facts, Ray)"
PLAN = "preparation by rank 0 (models, facts, first measurements)"


def run_follower(config: Config, ranks: Ranks, budget: Budget, own: OwnObjects = NO_OWN) -> Path:
    """Train as a rank other than 0; returns the folder that rank 0 writes.

    Raises: UserError for anything the user can mend; Interrupted when any rank was asked to stop.
    """
    progress.console.quiet = True
    folder = Path(config.run_dir)
    if any(ranks.broadcast(b"", IS_FINISHED)):
        return folder
    _check_same(decode(ranks.broadcast(b"", CHECKED), dict[str, str]), own, ranks)
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    roles = ALL_ROLES if config.exchange.kind == "symmetric" else ()
    parts = assemble(on_own_gpu(config, ranks), adapter="fresh", roles=roles, own=own)
    plan = decode(ranks.broadcast(b"", PLAN), Plan)
    replay = _replay_of(config, plan, folder)
    try:
        learner = Learner(config, parts, ranks, replay, plan.train_facts, own)
        _fit(learner, plan.checkpoint, budget)
    finally:
        replay.close()
    return folder


def _check_same(of_first: dict[str, str], own: OwnObjects, ranks: Ranks) -> None:
    """Raises: UserError where rank 0 was given another judge, objective or reward than this one."""
    for role in sorted(of_first.keys() | own.shown.keys()):
        first, here = of_first.get(role, "none"), own.shown.get(role, "none")
        if first != here:
            raise UserError(
                f"rank {ranks.rank} was given {role}={here}, rank 0 {role}={first}; start the same "
                "script with the same judge=, objective= and reward= in every rank"
            )


def _replay_of(config: Config, plan: Plan, folder: Path) -> ReplayStore:
    """The replay of this rank; an empty one in memory where rank 0 alone reads the actors'."""
    if config.exchange.kind == "actors":
        unused = replace(config.replay, store="memory", url=None)
        return open_replay(replace(config, replay=unused), plan.replay_namespace)
    return open_replay(config, plan.replay_namespace, folder, plan.replay_url)


def _fit(learner: Learner, checkpoint: bytes, budget: Budget) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        # A copy of rank 0's checkpoint: the run folder may be on another machine.
        last = Path(scratch) / "last.ckpt"
        last.write_bytes(checkpoint)
        every = learner.config.trainer.checkpoint_every
        stop = GracefulStop(last, every, learner.ranks, budget)
        gather = ReplayOfAll(learner.config.trainer.validate_every)
        callbacks: list[Callback] = [Ratios(), gather, stop]
        trainer = trainer_for(learner, Path(scratch), callbacks, [])
        module = sampler_module(learner)
        stream = fact_stream(learner)
        try:
            resume_from = str(last) if checkpoint else None
            trainer.fit(module, stream, ckpt_path=resume_from, weights_only=True)
        finally:
            stop.restore()
        if stop.why:
            where = Path("rank 0's run folder")
            raise interruption(stop.why, trainer.global_step, learner.config, where)
    gather_memory(learner.ranks, learner.held, peak_gpu_memory(learner.parts.policy))
