"""Replay on a Redis or Valkey server, which every rank and every later run can use.

Keys: one set of facts per namespace, and per fact ``{…}:z`` (id -> priority) and ``{…}:h`` (id
-> payload) under one hash tag. Reading and writing a batch is one MULTI/EXEC round trip each.
Near-duplicates are compared inside the admission script, so no other writer can interfere between
reading and writing.

Sampling reads all entries of a fact and draws on the client with the memory store's code: about
20 kB per fact at the default capacity. Ids are content hashes, so a write that is repeated after a
time-out changes nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError, RedisError

from contraflow.replay.access import ADMIT_SHA, eviction, try_commands
from contraflow.replay.base import ReplayEntry, ReplayStore, check_namespace, vectors_for
from contraflow.replay.codec import (
    PAYLOAD_PREFIX,
    SCHEMA_VERSION,
    PayloadError,
    check_batch,
    content_id,
    decode_entry,
    decode_snapshot,
    encode_entry,
    encode_snapshot,
)
from contraflow.replay.connection import Server, storage_full
from contraflow.replay.lua import ADMIT
from contraflow.replay.selection import draw_for_facts
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig
from contraflow.system.progress import print_plain
from contraflow.types import ScoredQuestion

KEY_ROOT = f"contraflow:replay:{SCHEMA_VERSION}:"
T = TypeVar("T")
_FACTS_PER_READ = 500  # when a whole store is read: about 10 MB per reply at the default capacity
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
        self._settings = settings
        self._embed = embed
        self._log = log
        self._offered = 0
        self._admitted = 0
        self._refused = 0
        self._is_full = False
        self._skipped: dict[tuple[str, str], str] = {}
        self._server = Server(
            url,
            patience_s=settings.patience_s,
            log=log,
            remedy=self.remedy,
            restart=self._restart_server,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._server.shown_url}, namespace={self._namespace})"

    def add(self, questions: Sequence[ScoredQuestion], priorities: Sequence[float]) -> int:
        check_batch(questions, priorities)
        vectors = vectors_for(questions, self._settings, self._embed)
        entries = [
            ReplayEntry(float(priority), content_id(scored), scored, vector)
            for scored, priority, vector in zip(questions, priorities, vectors, strict=True)
        ]
        admitted = self._admit(entries)
        self._offered += len(questions)
        self._admitted += admitted
        return admitted

    def sample(
        self, facts: Sequence[str], n: int, rng: random.Random
    ) -> list[list[ScoredQuestion]]:
        contents = self._fetch(list(dict.fromkeys(facts)))
        return draw_for_facts(facts, n, rng, self._settings, contents.__getitem__)

    def size(self, fact: str | None = None) -> int:
        return self._server.call(
            lambda: self._count(self._listed_facts() if fact is None else [fact])
        )

    def snapshot(self) -> bytes:
        return encode_snapshot(self._namespace, self.entries())

    def restore(self, data: bytes) -> None:
        entries = decode_snapshot(data, self._namespace)
        self._server.call(lambda: self._replace(entries))

    def resume(self, data: bytes) -> None:
        for entries in _batched(decode_snapshot(data, self._namespace), _ENTRIES_PER_RESUME):
            self._admit(entries)

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
            "skipped": len(self._skipped),  # distinct entries, however often they were read
            "refused": self._refused,  # because the server was full
        }

    def check_access(self) -> None:
        """Try every command of a run, and report a server that may evict entries.

        For a store whose namespace nobody else uses. Raises `UserError`, naming what is missing.
        """
        try_commands(self._server, self._index_key, *self._fact_keys("f"))
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

    def _admit(self, entries: Sequence[ReplayEntry]) -> int:
        """Run the admission script, one call per fact, all in one round trip."""
        arguments: dict[str, list[str | bytes]] = {}
        for entry in entries:
            payload = encode_entry(entry.scored, entry.vector)
            row: list[str | bytes] = [entry.entry_id, repr(entry.priority), payload]
            arguments.setdefault(entry.scored.fact_key, []).extend(row)
        if not arguments:
            return 0
        replies = self._server.call(lambda: self._run_admission(arguments))
        admitted = 0
        refused = 0
        for rows, reply in zip(arguments.values(), replies[1:], strict=True):
            if isinstance(reply, Exception):
                refused += len(rows) // 3
            else:
                admitted += int(reply)
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        self._report_refusals(refused, errors[0] if errors else None)
        return admitted

    def _run_admission(self, arguments: dict[str, list[str | bytes]]) -> list[Any]:
        """The reply of the index, then one per fact; an error where the server is full."""
        replies = self._send_admission(arguments)
        # A new or restarted server does not know the script.
        if any(isinstance(reply, NoScriptError) for reply in replies):
            self._client.script_load(ADMIT)
            replies = self._send_admission(arguments)
        for reply in replies:
            if isinstance(reply, Exception) and storage_full(reply) is None:
                raise reply
        return replies

    def _send_admission(self, arguments: dict[str, list[str | bytes]]) -> list[Any]:
        settings = self._settings
        head = [
            settings.capacity_per_fact,
            repr(float(settings.near_duplicate)),
            settings.near_duplicate_by,
            PAYLOAD_PREFIX,
        ]
        # One transaction: a `clear` between SADD and the script would leave unlisted entries.
        with self._client.pipeline(transaction=True) as pipe:
            pipe.sadd(self._index_key, *arguments)
            for fact, rows in arguments.items():
                pipe.evalsha(ADMIT_SHA, 2, *self._fact_keys(fact), *head, *rows)  # type: ignore[arg-type]
            try:
                return pipe.execute(raise_on_error=False)
            except RedisError as error:  # the server refused the whole transaction
                if storage_full(error) is None:
                    raise
                return [error] * (1 + len(arguments))

    def _report_refusals(self, refused: int, error: Exception | None) -> None:
        """Log once when the server becomes full, and once when it admits questions again."""
        self._refused += refused
        server = f"the replay server at {self._server.shown_url}"
        if refused and not self._is_full and error is not None:
            self._log(
                f"{server} {storage_full(error)}. "
                "Until then new questions are not stored; stored questions are still sampled"
            )
        elif self._is_full and not refused:
            self._log(f"{server} takes questions again; {self._refused} were not stored")
        self._is_full = refused > 0

    def entries(self) -> Iterator[ReplayEntry]:
        # A limited number of facts per read, so that the server is never busy for long.
        for facts in _batched(self._server.call(self._listed_facts), _FACTS_PER_READ):
            for entries in self._fetch(facts).values():
                yield from entries

    def _fetch(self, facts: Sequence[str]) -> dict[str, list[ReplayEntry]]:
        """The readable entries of these facts, best first."""
        if not facts:
            return {}
        replies = self._server.call(lambda: self._read(facts))
        n_skipped = len(self._skipped)
        contents: dict[str, list[ReplayEntry]] = {}
        for fact, scores, payloads in zip(facts, replies[::2], replies[1::2], strict=True):
            contents[fact] = self._decode(fact, scores, payloads)
        self._report_skipped(n_skipped)
        return contents

    def _read(self, facts: Sequence[str]) -> list[Any]:
        """Two replies per fact: ids with priorities, and the payload of each id."""
        with self._client.pipeline(transaction=True) as pipe:
            for fact in facts:
                ranked, payloads = self._fact_keys(fact)
                pipe.zrange(ranked, 0, -1, withscores=True)
                pipe.hgetall(payloads)
            return pipe.execute()

    def _decode(
        self, fact: str, scores: Sequence[tuple[bytes, float]], payloads: dict[bytes, bytes]
    ) -> list[ReplayEntry]:
        entries = []
        for raw_id, priority in scores:
            entry_id = raw_id.decode(errors="backslashreplace")
            data = payloads.get(raw_id)
            try:
                entries.append(
                    decode_entry(data, float(priority), fact_key=fact, entry_id=entry_id)
                )
            except PayloadError as error:
                self._skipped.setdefault((fact, entry_id), str(error))
        return sorted(entries, key=lambda entry: entry.sort_key)

    def _report_skipped(self, n_before: int) -> None:
        """Log the first skipped entry, and then each time that their number has doubled."""
        n = len(self._skipped)
        if n == n_before or (n_before and n.bit_length() == n_before.bit_length()):
            return
        (fact, entry_id), reason = list(self._skipped.items())[-1]
        self._log(
            f"replay skips {n} stored {'entry' if n == 1 else 'entries'} that cannot be read, "
            f"the last of fact {fact!r} (id {entry_id[:40]}): {reason:.160}"
        )

    def _replace(self, entries: Sequence[ReplayEntry]) -> None:
        """Replace the namespace by these entries, best first within each fact, atomically."""
        facts: dict[str, list[ReplayEntry]] = {}
        for entry in entries:
            facts.setdefault(entry.scored.fact_key, []).append(entry)
        with self._client.pipeline(transaction=True) as pipe:
            for members in _batched(self._members(), _FACTS_PER_DELETE):
                keys: list[str] = []
                for member in members:
                    keys += self._raw_keys(member)
                pipe.delete(*keys)
                # SREM instead of DEL: a fact that another process adds now stays listed.
                pipe.srem(self._index_key, *members)
            for fact, of_fact in facts.items():
                kept = of_fact[: self._settings.capacity_per_fact]
                ranked, payloads = self._fact_keys(fact)
                pipe.sadd(self._index_key, fact)
                pipe.zadd(ranked, {entry.entry_id: entry.priority for entry in kept})
                pipe.hset(
                    payloads,
                    mapping={e.entry_id: encode_entry(e.scored, e.vector) for e in kept},
                )
            pipe.execute()

    def _members(self) -> list[bytes]:
        members: set[bytes] = self._client.smembers(self._index_key)  # type: ignore[assignment]
        return sorted(members)

    def _listed_facts(self) -> list[str]:
        """The listed facts; a name that is not text was planted, and is skipped."""
        names = []
        n_skipped = len(self._skipped)
        for member in self._members():
            try:
                names.append(member.decode())
            except UnicodeDecodeError:
                self._skipped.setdefault((repr(member)[:80], "-"), "the fact's name is no text")
        self._report_skipped(n_skipped)
        return names

    def _facts_and_size(self) -> tuple[int, int]:
        facts = self._listed_facts()
        return len(facts), self._count(facts)

    def _count(self, facts: Sequence[str]) -> int:
        with self._client.pipeline(transaction=False) as pipe:
            for fact in facts:
                pipe.zcard(self._fact_keys(fact)[0])
            return sum(map(int, pipe.execute()))

    @property
    def _index_key(self) -> str:
        return f"{KEY_ROOT}{{{self._namespace}}}:facts"

    def _fact_keys(self, fact: str) -> tuple[str, str]:
        return self._raw_keys(fact.encode())

    def _raw_keys(self, fact: bytes) -> tuple[str, str]:
        # The fact is hashed: a brace in it would end the hash tag early and separate the keys.
        tag = f"{self._namespace}:{hashlib.sha256(fact).hexdigest()[:24]}"
        return f"{KEY_ROOT}{{{tag}}}:z", f"{KEY_ROOT}{{{tag}}}:h"


def _batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
