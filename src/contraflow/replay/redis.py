"""Replay on a Redis or Valkey server, which every rank and every later run can use.

Reading and writing a batch is one MULTI/EXEC round trip each. `keys` names what is stored where,
`admission` writes and `stored` reads.

Sampling reads all entries of a fact and draws on the client with the memory store's code: about
20 kB per fact at the default capacity. Ids are content hashes, so a write that is repeated after a
time-out changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis

from contraflow.replay.access import eviction, try_commands
from contraflow.replay.admission import Admission
from contraflow.replay.base import ReplayEntry, ReplayStore, check_namespace, vectors_for
from contraflow.replay.codec import (
    check_batch,
    content_id,
    decode_snapshot,
    encode_entry,
    encode_snapshot,
)
from contraflow.replay.connection import Server
from contraflow.replay.keys import KEY_ROOT, Keys
from contraflow.replay.selection import draw_for_facts
from contraflow.replay.stored import StoredEntries, batched
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig
from contraflow.system.progress import print_plain
from contraflow.types import ScoredQuestion

__all__ = ["KEY_ROOT", "RedisReplay"]

_ENTRIES_PER_RESUME = 4096
_FACTS_PER_DELETE = 1000


class RedisReplay(ReplayStore):
    """Entries on a server that other processes may use at the same time.

    Raises `UserError` when the server does not answer (at once on opening, later after waiting for
    ``patience_s``) or refuses the password; the URL in the message has no user, password or
    options. A full server refuses new questions. This is reported and counted and stops nothing:
    stored questions are still sampled.
    """

    kind = "redis"
    remedy = "start it or correct the URL, or use replay=embedded or replay=memory"

    def __init__(
        self,
        namespace: str,
        settings: ReplayConfig,
        url: str,
        *,
        embed: Embed | None = None,
        log: Callable[[str], None] = print_plain,
    ) -> None:
        self._namespace = check_namespace(namespace)
        self._keys = Keys(namespace)
        self._settings = settings
        self._embed = embed
        self._log = log
        self._offered = 0
        self._admitted = 0
        self._server = Server(
            url,
            patience_s=settings.patience_s,
            log=log,
            remedy=self.remedy,
            restart=self._restart_server,
        )
        self._admission = Admission(self._server, self._keys, settings, log)
        self._stored = StoredEntries(self._server, self._keys, log)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.shown_url}, namespace={self._namespace})"

    def add(self, questions: Sequence[ScoredQuestion], priorities: Sequence[float]) -> int:
        check_batch(questions, priorities)
        vectors = vectors_for(questions, self._settings, self._embed)
        entries = [
            ReplayEntry(float(priority), content_id(scored), scored, vector)
            for scored, priority, vector in zip(questions, priorities, vectors, strict=True)
        ]
        admitted = self._admission.admit(entries)
        self._offered += len(questions)
        self._admitted += admitted
        return admitted

    def sample(
        self, facts: Sequence[str], n: int, rng: random.Random
    ) -> list[list[ScoredQuestion]]:
        contents = self._stored.of_facts(list(dict.fromkeys(facts)))
        return draw_for_facts(facts, n, rng, self._settings, contents.__getitem__)

    def size(self, fact: str | None = None) -> int:
        return self._server.call(
            lambda: self._count(self._stored.facts() if fact is None else [fact])
        )

    def entries(self) -> Iterator[ReplayEntry]:
        return self._stored.all()

    def snapshot(self) -> bytes:
        return encode_snapshot(self._namespace, self.entries())

    def restore(self, data: bytes) -> None:
        entries = decode_snapshot(data, self._namespace)
        self._server.call(lambda: self._replace(entries))

    def resume(self, data: bytes) -> None:
        for entries in batched(decode_snapshot(data, self._namespace), _ENTRIES_PER_RESUME):
            self._admission.admit(entries)

    def clear(self) -> None:
        self._server.call(lambda: self._replace([]))

    def stats(self) -> dict[str, Any]:
        facts, size = self._server.call(self._facts_and_size)
        return {
            "store": self.kind,
            "url": self._server.shown_url,
            "namespace": self._namespace,
            "size": size,
            "facts": facts,
            "offered": self._offered,
            "admitted": self._admitted,
            "skipped": self._stored.n_skipped,
            "refused": self._admission.refused,
        }

    def check_access(self) -> None:
        """Try every command of a run, and report a server that may evict entries.

        For a store whose namespace nobody else uses. Raises `UserError`, naming what is missing.
        """
        try_commands(self._server, self._keys.index, *self._keys.of_fact("f"))
        warning = eviction(self._server)
        if warning is not None:
            self._log(warning)

    def close(self) -> None:
        self._server.close()

    def _restart_server(self) -> None:
        """Does nothing: this process does not own the server."""

    @property
    def _client(self) -> redis.Redis:
        return self._server.client

    def _replace(self, entries: Sequence[ReplayEntry]) -> None:
        """Replace the namespace by these entries, best first within each fact, atomically."""
        facts: dict[str, list[ReplayEntry]] = {}
        for entry in entries:
            facts.setdefault(entry.scored.fact_key, []).append(entry)
        with self._client.pipeline(transaction=True) as pipe:
            for members in batched(self._stored.members(), _FACTS_PER_DELETE):
                pipe.delete(*(key for member in members for key in self._keys.of_fact(member)))
                # SREM instead of DEL: a fact that another process adds now stays listed.
                pipe.srem(self._keys.index, *members)
            for fact, of_fact in facts.items():
                kept = of_fact[: self._settings.capacity_per_fact]
                keys = self._keys.of_fact(fact)
                pipe.sadd(self._keys.index, fact)
                pipe.zadd(keys.ranked, {entry.entry_id: entry.priority for entry in kept})
                pipe.hset(
                    keys.payloads,
                    mapping={e.entry_id: encode_entry(e.scored, e.vector) for e in kept},
                )
            pipe.execute()

    def _facts_and_size(self) -> tuple[int, int]:
        facts = self._stored.facts()
        return len(facts), self._count(facts)

    def _count(self, facts: Sequence[str]) -> int:
        with self._client.pipeline(transaction=False) as pipe:
            for fact in facts:
                pipe.zcard(self._keys.of_fact(fact).ranked)
            return sum(map(int, pipe.execute()))
