"""Rank and world size of this process, from the environment variables that launchers set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from contraflow.errors import UserError

# The file in which the ranks of our own launcher find each other.
RENDEZVOUS = "CONTRAFLOW_RENDEZVOUS"
# The process id of our own launcher.
LAUNCHER = "CONTRAFLOW_LAUNCHER"


@dataclass(frozen=True)
class RankInfo:
    """The position of a process among all ranks, and among those of its machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int

    @property
    def one_machine(self) -> bool:
        """Whether all ranks run on this machine."""
        return self.local_size == self.size


def rank_info_from_environment(environment: Mapping[str, str] = os.environ) -> RankInfo | None:
    """Return the rank that a launcher (ours or torchrun) gave this process; None without one.

    Raises: UserError when a variable is not a number.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    rank = _number(environment, "RANK", 0)
    size = _number(environment, "WORLD_SIZE", 1)
    local_rank = _number(environment, "LOCAL_RANK", rank)
    local_size = _number(environment, "LOCAL_WORLD_SIZE", size)
    return RankInfo(rank, size, local_rank, local_size)


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdigit():
        raise UserError(f"{name}={text} in the environment is no number; start ranks with torchrun")
    return int(text)
