"""Questions go to a server through the admission script, and what a full server refuses is told.

The script compares near-duplicates inside the server, so no other writer can interfere between
reading and writing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from contraflow.replay.access import ADMIT_SHA
from contraflow.replay.base import ReplayEntry
from contraflow.replay.codec import PAYLOAD_PREFIX, encode_entry
from contraflow.replay.connection import Server, storage_full
from contraflow.replay.keys import Keys
from contraflow.replay.lua import ADMIT
from contraflow.settings.running import ReplayConfig

# For each fact the id, priority and payload of its questions, one after the other.
Rows = dict[str, list[str | bytes]]


class Admission:
    """Admits entries to one namespace; ``refused`` counts those that a full server did not take."""

    def __init__(
        self, server: Server, keys: Keys, settings: ReplayConfig, log: Callable[[str], None]
    ) -> None:
        self._server = server
        self._keys = keys
        self._settings = settings
        self._log = log
        self._is_full = False
        self.refused = 0

    def admit(self, entries: Sequence[ReplayEntry]) -> int:
        """Run the script, one call per fact, all in one round trip; return how many entered."""
        rows = _rows_of(entries)
        if not rows:
            return 0
        replies = self._server.call(lambda: self._run(rows))
        admitted = 0
        refused = 0
        for of_fact, reply in zip(rows.values(), replies[1:], strict=True):
            if isinstance(reply, Exception):
                refused += len(of_fact) // 3
            else:
                admitted += int(reply)
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        self._report(refused, errors[0] if errors else None)
        return admitted

    def _run(self, rows: Rows) -> list[Any]:
        """The reply of the index, then one per fact; an error where the server is full."""
        replies = self._send(rows)
        # A new or restarted server does not know the script.
        if any(isinstance(reply, NoScriptError) for reply in replies):
            self._server.client.script_load(ADMIT)
            replies = self._send(rows)
        for reply in replies:
            if isinstance(reply, Exception) and storage_full(reply) is None:
                raise reply
        return replies

    def _send(self, rows: Rows) -> list[Any]:
        settings = self._settings
        head = [
            settings.capacity_per_fact,
            repr(float(settings.near_duplicate)),
            settings.near_duplicate_by,
            PAYLOAD_PREFIX,
        ]
        # One transaction: a `clear` between SADD and the script would leave unlisted entries.
        with self._server.client.pipeline(transaction=True) as pipe:
            pipe.sadd(self._keys.index, *rows)
            for fact, of_fact in rows.items():
                pipe.evalsha(ADMIT_SHA, 2, *self._keys.of_fact(fact), *head, *of_fact)  # type: ignore[arg-type]
            try:
                return pipe.execute(raise_on_error=False)
            except RedisError as error:  # the server refused the whole transaction
                if storage_full(error) is None:
                    raise
                return [error] * (1 + len(rows))

    def _report(self, refused: int, error: Exception | None) -> None:
        """Log once when the server becomes full, and once when it admits questions again."""
        self.refused += refused
        if refused and not self._is_full and error is not None:
            self._log(
                f"{self._server.name} {storage_full(error)}. "
                "Until then new questions are not stored; stored questions are still sampled"
            )
        elif self._is_full and not refused:
            self._log(f"{self._server.name} takes questions again; {self.refused} were not stored")
        self._is_full = refused > 0


def _rows_of(entries: Sequence[ReplayEntry]) -> Rows:
    rows: Rows = {}
    for entry in entries:
        payload = encode_entry(entry.scored, entry.vector)
        row: list[str | bytes] = [entry.entry_id, repr(entry.priority), payload]
        rows.setdefault(entry.scored.fact_key, []).extend(row)
    return rows
