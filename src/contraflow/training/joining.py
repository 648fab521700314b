"""How a process becomes one of several ranks: what may be asked for, and which GPU is its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from contraflow.distributed.rank_info import RankInfo, rank_info_from_environment
from contraflow.distributed.ranks import RankGroup, Ranks
from contraflow.errors import UserError
from contraflow.facts import Fact, split_facts
from contraflow.facts.notes import require_trainable
from contraflow.run.build import device_of
from contraflow.run.device import check_device
from contraflow.settings import Config


def join_ranks(config: Config) -> tuple[Config, Ranks]:
    """Join the ranks that a launcher started; returns the config with their number, and the ranks.

    Raises: UserError when the config asks for a GPU that is not here, or for ranks that were not
        started or cannot be served.
    """
    check_device(config)
    info = rank_info_from_environment()
    if info is None or info.size == 1:
        devices = config.trainer.devices
        if devices > 1 and info is None:
            raise UserError(
                f"trainer.devices={devices}: one process cannot be {devices} ranks; "
                "start it with `contraflow train` or torchrun"
            )
        return replace(config, trainer=replace(config.trainer, devices=1)), Ranks()
    if config.exchange.kind == "local":
        raise UserError(
            f"exchange.kind=local: choose scatter, broadcast, symmetric or actors for {info.size} "
            "ranks"
        )
    if config.replay.store == "embedded" and not info.one_machine:
        raise UserError(
            "replay=embedded serves one machine only; use replay=redis replay.url=… with several"
        )
    config = replace(config, trainer=replace(config.trainer, devices=info.size))
    return config, RankGroup(info, config.exchange.timeout_s, gpu=_unshared_gpu(config, info))


def on_own_gpu(config: Config, ranks: Ranks) -> Config:
    """The config with this rank's GPU as device. More ranks than GPUs share them in turn."""
    info = rank_info_from_environment()
    if ranks.size == 1 or info is None or device_of(config).type != "cuda":
        return config
    return replace(config, model=replace(config.model, device=str(_gpu_of(config, info))))


def _unshared_gpu(config: Config, info: RankInfo) -> torch.device | None:
    """This rank's own GPU; None where ranks share GPUs or have none, and use gloo."""
    if device_of(config).type != "cuda" or info.local_size > torch.cuda.device_count():
        return None
    return _gpu_of(config, info)


def _gpu_of(config: Config, info: RankInfo) -> torch.device:
    """The GPU with this rank's number; with actors, which Ray gives the first ones, counted from
    that of `model.device`.
    """
    first = (device_of(config).index or 0) if config.exchange.kind == "actors" else 0
    return torch.device("cuda", (first + info.local_rank) % torch.cuda.device_count())


def check_facts_go_round(config: Config, facts: Sequence[Fact], ranks: Ranks) -> None:
    """Check early what the training facts of a run can be at most.

    Raises: UserError where a part that a run needs has none, or they are fewer than the ranks.
    """
    splits = split_facts(facts)
    require_trainable(splits, config.data.facts)
    n = len(splits.train)
    cap = config.data.max_train_facts
    require_fact_for_each(n if cap is None else min(n, cap), ranks)


def require_fact_for_each(n_facts: int, ranks: Ranks) -> None:
    """Raises: UserError when there are fewer facts than ranks."""
    if n_facts < ranks.size:
        raise UserError(
            f"{n_facts} training facts do not go round {ranks.size} ranks; "
            "give more facts, or fewer trainer.devices"
        )
