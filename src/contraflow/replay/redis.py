"""The store that every rank and every later run finds: a Redis or Valkey server.

Keys: one set of fact ids per namespace, and per fact ``{…}:z`` (id -> priority) and ``{…}:h`` (id -> payload)
under one hash tag. A batch is one MULTI/EXEC round trip both ways. Near-duplicates are settled inside the
admission script, so there is no moment between looking and writing in which another writer could slip in.

A fact's entries are read whole and drawn from on this side, so that the draw is the memory store's own code:
about 20 kB a fact at the default capacity. Ids are content hashes: a write that is sent again after a
time-out changes nothing.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from contraflow.errors import UserError
from contraflow.replay.base import ReplaySettings, ReplayStore
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
from contraflow.replay.lua import ADMIT
from contraflow.replay.selection import Stored, deal
from contraflow.types import ScoredQuestion

_ADMIT_SHA = hashlib.sha1(ADMIT.encode(), usedforsecurity=False).hexdigest()  # EVALSHA's name for the script


class RedisReplay(ReplayStore):
    """Entries on a server that other processes may use at the same time.

    Raises `UserError`, here and from every method, when the server does not answer, refuses the password or
    cannot write; the URL in it is shown without user, password and options.
    """

    kind = "redis"
    remedy = "start it or correct the URL, or use replay=embedded or replay=memory"

    def __init__(self, settings: ReplaySettings, url: str) -> None:
        self._settings = settings
        self._shown_url = safe_url(url)
        self._offered = 0
        self._admitted = 0
        self._skipped: set[tuple[str, str]] = set()
        self._client = self._connect(url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown_url}, namespace={self._settings.namespace})"

    def add(self, entries: Sequence[ScoredQuestion], priorities: Sequence[float]) -> int:
        check_batch(entries, priorities)
        arguments: dict[str, list[str | bytes]] = {}
        for entry, priority in zip(entries, priorities, strict=True):
            row: list[str | bytes] = [content_id(entry), repr(float(priority)), encode_entry(entry)]
            arguments.setdefault(entry.fact_id, []).extend(row)
        if not arguments:
            return 0
        with self._told():
            replies = self._send_admissions(arguments)
            if any(isinstance(reply, NoScriptError) for reply in replies):  # the server was restarted
                self._client.script_load(ADMIT)
                replies = self._send_admissions(arguments)
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        admitted = sum(map(int, replies[1:]))
        self._offered += len(entries)
        self._admitted += admitted
        return admitted

    def sample(self, fact_ids: Sequence[str], n: int, rng: random.Random) -> list[list[ScoredQuestion]]:
        contents = self._fetch(list(dict.fromkeys(fact_ids)))
        return deal(fact_ids, n, rng, self._settings.sampling, contents.__getitem__)

    def size(self, fact_id: str | None = None) -> int:
        with self._told():
            return self._count(self._fact_ids() if fact_id is None else [fact_id])

    def snapshot(self) -> bytes:
        with self._told():
            facts = self._fact_ids()
        stored = (item for fact in self._fetch(facts).values() for item in fact)
        return encode_snapshot(self._settings.namespace, ((item.priority, item.entry) for item in stored))

    def restore(self, data: bytes) -> None:
        self._replace(decode_snapshot(data, self._settings.namespace))

    def clear(self) -> None:
        self._replace([])

    def stats(self) -> dict[str, Any]:
        with self._told():
            facts = self._fact_ids()
            size = self._count(facts)
        return {
            "store": self.kind,
            "url": self._shown_url,
            "namespace": self._settings.namespace,
            "size": size,
            "facts": len(facts),
            "offered": self._offered,
            "admitted": self._admitted,
            "skipped": len(self._skipped),  # different entries, however often they were met
        }

    def close(self) -> None:
        self._client.close()

    def _connect(self, url: str) -> redis.Redis:
        """A client for training, after a quick knock that fails within seconds where nobody answers."""
        try:
            knock = redis.Redis.from_url(
                url, socket_timeout=2.0, socket_connect_timeout=2.0, retry=Retry(NoBackoff(), 0)
            )
            client = redis.Redis.from_url(
                url,
                socket_timeout=10.0,
                socket_connect_timeout=5.0,
                retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=2.0), 7),
                health_check_interval=30,
            )
        except ValueError:  # its text may quote a part of the password
            raise UserError(
                f"replay.url={self._shown_url} is not a Redis URL: write redis://, rediss:// or unix://, and "
                "percent-encode special characters of the password"
            ) from None
        with self._told(), knock:
            knock.script_load(ADMIT)
        return client

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the client's errors into one line each; their text may hold arguments and is dropped."""
        server = f"the replay server at {self._shown_url}"
        try:
            yield
        except (AuthenticationError, NoPermissionError):
            raise UserError(
                f"{server} refused the user or password: "
                "correct the URL, or use replay=embedded or replay=memory"
            ) from None
        except (ConnectionError, TimeoutError):
            raise UserError(f"{server} does not answer: {self.remedy}") from None
        except RedisError as error:
            raise UserError(f"{server} {_complaint(error)}") from None

    def _send_admissions(self, arguments: dict[str, list[str | bytes]]) -> list[Any]:
        head = [self._settings.capacity_per_fact, repr(float(self._settings.near_duplicate)), PAYLOAD_PREFIX]
        # One transaction: a `clear` between SADD and script would leave entries that nothing lists.
        with self._client.pipeline(transaction=True) as pipe:
            pipe.sadd(self._index_key, *arguments)
            for fact_id, rows in arguments.items():
                pipe.evalsha(_ADMIT_SHA, 2, *self._fact_keys(fact_id), *head, *rows)  # type: ignore[arg-type]
            return pipe.execute(raise_on_error=False)

    def _fetch(self, fact_ids: Sequence[str]) -> dict[str, list[Stored]]:
        """What the server holds for these facts, best first, without what cannot be read."""
        if not fact_ids:
            return {}
        with self._told(), self._client.pipeline(transaction=True) as pipe:
            for fact_id in fact_ids:
                ranked, payloads = self._fact_keys(fact_id)
                pipe.zrange(ranked, 0, -1, withscores=True)
                pipe.hgetall(payloads)
            replies = pipe.execute()
        pairs = zip(fact_ids, replies[::2], replies[1::2], strict=True)
        return {fact_id: self._decode(fact_id, scores, payloads) for fact_id, scores, payloads in pairs}

    def _decode(
        self, fact_id: str, scores: Sequence[tuple[bytes, float]], payloads: dict[bytes, bytes]
    ) -> list[Stored]:
        stored = []
        for raw_id, priority in scores:
            entry_id = raw_id.decode(errors="backslashreplace")
            try:
                entry = decode_entry(payloads.get(raw_id), fact_id=fact_id, entry_id=entry_id)
            except PayloadError:
                self._skipped.add((fact_id, entry_id))
            else:
                stored.append(Stored(float(priority), entry_id, entry))
        return sorted(stored, key=lambda item: item.order)

    def _replace(self, entries: Sequence[tuple[float, ScoredQuestion]]) -> None:
        """Put these entries, best first within each fact, in the namespace's place, in one step."""
        facts: dict[str, list[tuple[float, ScoredQuestion]]] = {}
        for priority, entry in entries:
            facts.setdefault(entry.fact_id, []).append((priority, entry))
        with self._told(), self._client.pipeline(transaction=True) as pipe:
            old = self._fact_ids()
            if old:
                pipe.delete(*(key for fact_id in old for key in self._fact_keys(fact_id)))
                pipe.srem(self._index_key, *old)  # not DEL: a fact that another process adds now stays listed
            for fact_id, all_kept in facts.items():
                kept = all_kept[: self._settings.capacity_per_fact]
                ranked, payloads = self._fact_keys(fact_id)
                pipe.sadd(self._index_key, fact_id)
                pipe.zadd(ranked, {content_id(entry): priority for priority, entry in kept})
                pipe.hset(payloads, mapping={content_id(entry): encode_entry(entry) for _, entry in kept})
            pipe.execute()

    def _fact_ids(self) -> list[str]:
        members: set[bytes] = self._client.smembers(self._index_key)  # type: ignore[assignment]
        return sorted(member.decode() for member in members)

    def _count(self, fact_ids: Sequence[str]) -> int:
        with self._client.pipeline(transaction=False) as pipe:
            for fact_id in fact_ids:
                pipe.zcard(self._fact_keys(fact_id)[0])
            return sum(map(int, pipe.execute()))

    @property
    def _index_key(self) -> str:
        return f"contraflow:replay:{SCHEMA_VERSION}:{{{self._settings.namespace}}}:facts"

    def _fact_keys(self, fact_id: str) -> tuple[str, str]:
        # The fact id is hashed: a brace in it would end the hash tag early and part the two keys.
        tag = f"{self._settings.namespace}:{hashlib.sha256(fact_id.encode()).hexdigest()[:24]}"
        key = f"contraflow:replay:{SCHEMA_VERSION}:{{{tag}}}"
        return f"{key}:z", f"{key}:h"


def safe_url(url: str) -> str:
    """The URL without user, password and options, also where it is malformed; hidden where that is unsure."""
    scheme, separator, rest = url.rpartition("://")
    place, *options = re.split(r"[?#]", rest, maxsplit=1)
    if any("@" in option for option in options) or not re.fullmatch(r"[a-z]*", scheme):
        return "(hidden)"  # an unescaped ? or # in a password: where it ends cannot be told
    return f"{scheme}{separator}{place.rpartition('@')[2]}"


def _complaint(error: RedisError) -> str:
    """What the server could not do and the remedy, from the error code that starts a Redis message."""
    match = re.search(r"(?:^|caused error: )([A-Z]+) ", str(error))  # in a batch it follows the command
    code = match[1] if match else type(error).__name__
    if code in ("OOM", "OutOfMemoryError"):
        return "is out of memory: raise its maxmemory or lower replay.capacity_per_fact"
    if code == "MISCONF":
        return "cannot write to its disk: free some space there"
    return f"failed with {code}: see the server's log"
