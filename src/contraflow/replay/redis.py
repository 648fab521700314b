"""The store that every rank and every later run finds: a Redis or Valkey server.

Keys: one set of fact ids per namespace, and per fact ``{…}:z`` (id -> priority) and ``{…}:h`` (id
-> payload) under one hash tag. A batch is one MULTI/EXEC round trip both ways. Near-duplicates are
settled inside the admission script, so there is no moment between looking and writing in which
another writer could slip in.

A fact's entries are read whole and drawn from on this side, so that the draw is the memory store's
own code: about 20 kB a fact at the default capacity. Ids are content hashes: a write that is sent
again after a time-out changes nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError, RedisError

from contraflow.replay.base import ReplayStore, Stored, check_namespace, vectors_for
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
from contraflow.replay.connection import Server, full
from contraflow.replay.lua import ADMIT
from contraflow.replay.selection import deal
from contraflow.replay.vectors import Embed
from contraflow.settings.running import ReplayConfig
from contraflow.system.progress import print_plain
from contraflow.types import ScoredQuestion

KEY_ROOT = f"contraflow:replay:{SCHEMA_VERSION}:"
_ADMIT_SHA = hashlib.sha1(
    ADMIT.encode(), usedforsecurity=False
).hexdigest()  # EVALSHA's name for the script
T = TypeVar("T")
_FACTS_AT_ONCE = 500  # of a whole store: about 10 MB a reply at the default capacity


class RedisReplay(ReplayStore):
    """Entries on a server that other processes may use at the same time.

    Raises `UserError` when the server does not answer (at once on opening, later after
    ``patience_s`` of waiting) or refuses the password; the URL in it is shown without user,
    password and options. A server that is full refuses new questions, which is told and counted and
    stops nothing: what it holds can still be drawn.
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
        tell: Callable[[str], None] = print_plain,
    ) -> None:
        self._namespace = check_namespace(namespace)
        self._settings = settings
        self._embed = embed
        self._tell = tell
        self._offered = 0
        self._admitted = 0
        self._refused = 0
        self._is_full = False
        self._skipped: dict[tuple[str, str], str] = {}
        self._server = Server(
            url, patience_s=settings.patience_s, tell=tell, remedy=self.remedy, revive=self._revive
        )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._server.shown_url}, namespace={self._namespace})"
        )

    def add(self, entries: Sequence[ScoredQuestion], priorities: Sequence[float]) -> int:
        check_batch(entries, priorities)
        vectors = vectors_for(entries, self._settings, self._embed)
        admitted = self._admit(
            [
                Stored(float(priority), content_id(entry), entry, vector)
                for entry, priority, vector in zip(entries, priorities, vectors, strict=True)
            ]
        )
        self._offered += len(entries)
        self._admitted += admitted
        return admitted

    def sample(
        self, fact_ids: Sequence[str], n: int, rng: random.Random
    ) -> list[list[ScoredQuestion]]:
        contents = self._fetch(list(dict.fromkeys(fact_ids)))
        return deal(fact_ids, n, rng, self._settings, contents.__getitem__)

    def size(self, fact_id: str | None = None) -> int:
        return self._server.ask(
            lambda: self._count(self._fact_ids() if fact_id is None else [fact_id])
        )

    def snapshot(self) -> bytes:
        return encode_snapshot(self._namespace, self.entries())

    def restore(self, data: bytes) -> None:
        kept = decode_snapshot(data, self._namespace)
        self._server.ask(lambda: self._replace(kept))

    def resume(self, data: bytes) -> None:
        for some in _batched(decode_snapshot(data, self._namespace), 4096):
            self._admit(some)

    def clear(self) -> None:
        self._server.ask(lambda: self._replace([]))

    def stats(self) -> dict[str, Any]:
        facts, size = self._server.ask(self._facts_and_size)
        return {
            "store": self.kind,
            "url": self._server.shown_url,
            "namespace": self._namespace,
            "size": size,
            "facts": facts,
            "offered": self._offered,
            "admitted": self._admitted,
            "skipped": len(self._skipped),  # different entries, however often they were met
            "refused": self._refused,  # for which a full server had no room
        }

    def close(self) -> None:
        self._server.close()

    def _revive(self) -> None:
        """Another's server is another's to start."""

    @property
    def _client(self) -> redis.Redis:
        return self._server.client

    def _admit(self, entries: Sequence[Stored]) -> int:
        """Put them before the admission script, one call a fact, all in one round trip."""
        arguments: dict[str, list[str | bytes]] = {}
        for stored in entries:
            payload = encode_entry(stored.entry, stored.vector)
            row: list[str | bytes] = [stored.entry_id, repr(stored.priority), payload]
            arguments.setdefault(stored.entry.fact_id, []).extend(row)
        if not arguments:
            return 0
        replies = self._server.ask(lambda: self._admissions(arguments))
        refused = sum(
            len(rows) // 3
            for rows, reply in zip(arguments.values(), replies[1:], strict=True)
            if isinstance(reply, Exception)
        )
        self._note_refusals(refused, next((r for r in replies if isinstance(r, Exception)), None))
        return sum(int(reply) for reply in replies[1:] if not isinstance(reply, Exception))

    def _admissions(self, arguments: dict[str, list[str | bytes]]) -> list[Any]:
        """One reply a fact after that of the index; an error in a reply's place where the server is
        full.
        """
        replies = self._send_admissions(arguments)
        if any(
            isinstance(reply, NoScriptError) for reply in replies
        ):  # the server was restarted, or is new
            self._client.script_load(ADMIT)
            replies = self._send_admissions(arguments)
        for reply in replies:
            if isinstance(reply, Exception) and full(reply) is None:
                raise reply
        return replies

    def _send_admissions(self, arguments: dict[str, list[str | bytes]]) -> list[Any]:
        settings = self._settings
        head = [
            settings.capacity_per_fact,
            repr(float(settings.near_duplicate)),
            settings.near_duplicate_by,
            PAYLOAD_PREFIX,
        ]
        # One transaction: a `clear` between SADD and script would leave entries that nothing lists.
        with self._client.pipeline(transaction=True) as pipe:
            pipe.sadd(self._index_key, *arguments)
            for fact_id, rows in arguments.items():
                pipe.evalsha(_ADMIT_SHA, 2, *self._fact_keys(fact_id), *head, *rows)  # type: ignore[arg-type]
            try:
                return pipe.execute(raise_on_error=False)
            except RedisError as error:  # the whole transaction was turned away
                if full(error) is None:
                    raise
                return [error] * (1 + len(arguments))

    def _note_refusals(self, refused: int, error: Exception | None) -> None:
        self._refused += refused
        if refused and not self._is_full and error is not None:
            self._tell(
                f"the replay server at {self._server.shown_url} {full(error)}. "
                "Until then new questions are not stored; what is stored is still drawn"
            )
        elif self._is_full and not refused:
            self._tell(
                f"the replay server at {self._server.shown_url} takes questions again; {self._refused} were not stored"
            )
        self._is_full = refused > 0

    def entries(self) -> Iterator[Stored]:
        # Some facts at a time, so that the server is never busy for long.
        for some in _batched(self._server.ask(self._fact_ids), _FACTS_AT_ONCE):
            for entries in self._fetch(some).values():
                yield from entries

    def _fetch(self, fact_ids: Sequence[str]) -> dict[str, list[Stored]]:
        """What the server holds for these facts, best first, without what cannot be read."""
        if not fact_ids:
            return {}
        replies = self._server.ask(lambda: self._read(fact_ids))
        known = len(self._skipped)
        pairs = zip(fact_ids, replies[::2], replies[1::2], strict=True)
        found = {
            fact_id: self._decode(fact_id, scores, payloads) for fact_id, scores, payloads in pairs
        }
        self._tell_skipped(known)
        return found

    def _read(self, fact_ids: Sequence[str]) -> list[Any]:
        with self._client.pipeline(transaction=True) as pipe:
            for fact_id in fact_ids:
                ranked, payloads = self._fact_keys(fact_id)
                pipe.zrange(ranked, 0, -1, withscores=True)
                pipe.hgetall(payloads)
            return pipe.execute()

    def _decode(
        self, fact_id: str, scores: Sequence[tuple[bytes, float]], payloads: dict[bytes, bytes]
    ) -> list[Stored]:
        stored = []
        for raw_id, priority in scores:
            entry_id = raw_id.decode(errors="backslashreplace")
            data = payloads.get(raw_id)
            try:
                stored.append(
                    decode_entry(data, float(priority), fact_id=fact_id, entry_id=entry_id)
                )
            except PayloadError as error:
                self._skipped.setdefault((fact_id, entry_id), str(error))
        return sorted(stored, key=lambda item: item.order)

    def _tell_skipped(self, known: int) -> None:
        """Say it of the first, and again whenever there are twice as many: a flood of lines helps
        nobody.
        """
        n = len(self._skipped)
        if n == known or (known and n.bit_length() == known.bit_length()):
            return
        (fact_id, entry_id), reason = list(self._skipped.items())[-1]
        self._tell(
            f"replay skips {n} stored {'entry' if n == 1 else 'entries'} that cannot be read, the last of fact "
            f"{fact_id!r} (id {entry_id[:40]}): {reason:.160}"
        )

    def _replace(self, entries: Sequence[Stored]) -> None:
        """Put these entries, best first within each fact, in the namespace's place, in one step."""
        facts: dict[str, list[Stored]] = {}
        for stored in entries:
            facts.setdefault(stored.entry.fact_id, []).append(stored)
        with self._client.pipeline(transaction=True) as pipe:
            for some in _batched(self._members(), 1000):
                pipe.delete(*(key for raw in some for key in self._raw_keys(raw)))
                pipe.srem(
                    self._index_key, *some
                )  # not DEL: a fact that another process adds now stays listed
            for fact_id, all_kept in facts.items():
                kept = all_kept[: self._settings.capacity_per_fact]
                ranked, payloads = self._fact_keys(fact_id)
                pipe.sadd(self._index_key, fact_id)
                pipe.zadd(ranked, {stored.entry_id: stored.priority for stored in kept})
                pipe.hset(
                    payloads,
                    mapping={
                        stored.entry_id: encode_entry(stored.entry, stored.vector)
                        for stored in kept
                    },
                )
            pipe.execute()

    def _members(self) -> list[bytes]:
        members: set[bytes] = self._client.smembers(self._index_key)  # type: ignore[assignment]
        return sorted(members)

    def _fact_ids(self) -> list[str]:
        """The facts that are listed; a name that is no text was planted, and is skipped."""
        names, known = [], len(self._skipped)
        for member in self._members():
            try:
                names.append(member.decode())
            except UnicodeDecodeError:
                self._skipped.setdefault((repr(member)[:80], "-"), "the fact's name is no text")
        self._tell_skipped(known)
        return names

    def _facts_and_size(self) -> tuple[int, int]:
        facts = self._fact_ids()
        return len(facts), self._count(facts)

    def _count(self, fact_ids: Sequence[str]) -> int:
        with self._client.pipeline(transaction=False) as pipe:
            for fact_id in fact_ids:
                pipe.zcard(self._fact_keys(fact_id)[0])
            return sum(map(int, pipe.execute()))

    @property
    def _index_key(self) -> str:
        return f"{KEY_ROOT}{{{self._namespace}}}:facts"

    def _fact_keys(self, fact_id: str) -> tuple[str, str]:
        return self._raw_keys(fact_id.encode())

    def _raw_keys(self, fact_id: bytes) -> tuple[str, str]:
        # The fact id is hashed: a brace in it would end the hash tag early and part the two keys.
        tag = f"{self._namespace}:{hashlib.sha256(fact_id).hexdigest()[:24]}"
        return f"{KEY_ROOT}{{{tag}}}:z", f"{KEY_ROOT}{{{tag}}}:h"


def _batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
