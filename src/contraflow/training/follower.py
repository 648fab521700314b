"""What ranks other than 0 do: join, take over rank 0's plan, train beside it, and leave.

They write nothing, and load no oracle and no judge unless every rank is to have its own
(`exchange=symmetric`).
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from contraflow.distributed.memory import gather_memory
from contraflow.distributed.messages import Plan, decode
from contraflow.distributed.rank_info import RankInfo, rank_info_from_environment
from contraflow.distributed.ranks import RankGroup, Ranks
from contraflow.errors import INTERRUPTED, OUT_OF_TIME, UserError
from contraflow.run import build
from contraflow.settings import Config
from contraflow.system import progress
from contraflow.system.budget import Budget
from contraflow.training.callbacks import GracefulStop, Stop
from contraflow.training.rank import (
    Parts,
    facts_of_rank,
    held,
    peak_gpu_memory,
    sampler_module,
    trainer_for,
)

IS_FINISHED = "start"
PLAN = "preparation by rank 0 (models, facts, first measurements)"


class Interrupted(UserError):
    """Stopped on request, after a checkpoint; the message says how to go on."""

    exit_code = INTERRUPTED


class OutOfTime(Interrupted):
    """Stopped because `trainer.max_time` is used up."""

    exit_code = OUT_OF_TIME


def stopped(why: Stop, step: int, config: Config, checkpoint: Path) -> Interrupted:
    """What becomes of a run that stopped after a step."""
    on = f"a checkpoint is in {checkpoint}. Start the same command again to go on"
    if why is Stop.OUT_OF_TIME:
        trainer = config.trainer
        used_up = (
            f"trainer.max_time={trainer.max_time} is used up at step {step} of {trainer.n_steps}"
        )
        return OutOfTime(f"{used_up}; {on}, with as much time again")
    return Interrupted(f"stopped at step {step}; {on}")


def join_ranks(config: Config) -> tuple[Config, Ranks]:
    """The ranks that a launcher started this process among, and the config with their number.

    Raises: UserError when the config asks for ranks that nobody started or that cannot be served.
    """
    place = rank_info_from_environment()
    if place is None or place.size == 1:
        if config.trainer.devices > 1 and place is None:
            raise UserError(
                f"trainer.devices={config.trainer.devices}: one process cannot be {config.trainer.devices} ranks; "
                "start it with `contraflow train` or torchrun"
            )
        return replace(config, trainer=replace(config.trainer, devices=1)), Ranks()
    if config.exchange.kind == "local":
        raise UserError(
            f"exchange.kind=local: choose scatter, broadcast or symmetric for {place.size} ranks"
        )
    if config.replay.store == "embedded" and not place.one_machine:
        raise UserError(
            "replay=embedded serves one machine only; use replay=redis replay.url=… with several"
        )
    config = replace(config, trainer=replace(config.trainer, devices=place.size))
    return config, RankGroup(place, config.exchange.timeout_s, gpu=_gpu_of(config, place))


def _gpu_of(config: Config, place: RankInfo) -> torch.device | None:
    """This rank's own GPU; None where ranks share GPUs or have none, and talk over gloo."""
    if build.device_of(config).type != "cuda" or place.local_size > torch.cuda.device_count():
        return None
    return torch.device("cuda", place.local_rank)


def on_own_gpu(config: Config, ranks: Ranks) -> Config:
    """The config with this rank's device, where ranks have GPUs; more ranks than GPUs take turns on
    them.
    """
    place = rank_info_from_environment()
    if ranks.size == 1 or place is None or build.device_of(config).type != "cuda":
        return config
    device = f"cuda:{place.local_rank % torch.cuda.device_count()}"
    return replace(config, model=replace(config.model, device=device))


def follow(config: Config, ranks: Ranks, budget: Budget) -> Path:
    """The part of a rank that is not the first; returns the folder that rank 0 writes.

    Raises: UserError for anything the user can mend; Interrupted where any rank was asked to stop.
    """
    progress.console.quiet = True
    folder = Path(config.run_dir)
    if any(ranks.broadcast(b"", IS_FINISHED)):
        return folder
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    own = on_own_gpu(config, ranks)
    lm = build.load_lm(own)
    symmetric = config.exchange.kind == "symmetric"
    oracle = build.load_oracle(own, lm) if symmetric else None
    judge = build.load_judge(own) if symmetric else None
    policy = build.load_policy(config, lm)
    plan = decode(ranks.broadcast(b"", PLAN), Plan)
    replay = build.open_replay(config, plan.replay_namespace, folder, plan.replay_url)
    reward = build.build_reward(config)
    try:
        parts = Parts(config, ranks, policy, oracle, judge, replay, reward, plan.train_facts)
        _fit(parts, plan.checkpoint, budget)
    finally:
        replay.close()
    return folder


def _fit(parts: Parts, checkpoint: bytes, budget: Budget) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        last = Path(scratch) / "last.ckpt"  # rank 0's: the run folder may be on another machine
        last.write_bytes(checkpoint)
        stop = GracefulStop(last, parts.config.trainer.checkpoint_every, parts.ranks, budget)
        trainer = trainer_for(parts, Path(scratch), [stop], [])
        try:
            stream, path = facts_of_rank(parts), str(last) if checkpoint else None
            trainer.fit(sampler_module(parts), stream, ckpt_path=path, weights_only=True)
        finally:
            stop.restore()
        if stop.why:
            raise stopped(stop.why, trainer.global_step, parts.config, Path("rank 0's run folder"))
    gather_memory(parts.ranks, held(parts), peak_gpu_memory(parts.policy.lm.device))
