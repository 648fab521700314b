"""Which of how many processes this is, from the environment that launchers set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from contraflow.errors import UserError

RENDEZVOUS = (
    "CONTRAFLOW_RENDEZVOUS"  # the file in which ranks that our launcher started find each other
)
LAUNCHER = "CONTRAFLOW_LAUNCHER"  # its process id


@dataclass(frozen=True)
class RankInfo:
    """A rank among all, and among those of this machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int

    @property
    def one_machine(self) -> bool:
        return self.local_size == self.size


def rank_info_from_environment(environment: Mapping[str, str] = os.environ) -> RankInfo | None:
    """Where a launcher (ours or torchrun) has put this process; None where none did.

    Raises: UserError for a variable that is no number.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    rank, size = _number(environment, "RANK", 0), _number(environment, "WORLD_SIZE", 1)
    return RankInfo(
        rank,
        size,
        _number(environment, "LOCAL_RANK", rank),
        _number(environment, "LOCAL_WORLD_SIZE", size),
    )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdigit():
        raise UserError(f"{name}={text} in the environment is no number; start ranks with torchrun")
    return int(text)
