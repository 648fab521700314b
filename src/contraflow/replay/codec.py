"""Typed bytes for entries and snapshots: msgpack with a schema name and version, never pickle.

Whoever can write to a shared server can plant bytes in it. Decoding builds only the types named
here, checks every number, and raises `PayloadError` for anything else, which the stores catch, skip
and count.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Annotated, TypeVar

import msgspec

from contraflow.errors import UserError
from contraflow.replay.base import Stored
from contraflow.types import ScoredQuestion

SCHEMA_VERSION = 3  # also part of every Redis key, so that versions do not meet
_ENTRY = "contraflow.question"
_SNAPSHOT = "contraflow.replay"
T = TypeVar("T")
_Byte = Annotated[int, msgspec.Meta(ge=-128, le=127)]


class PayloadError(Exception):
    """Bytes that are not what this version of contraflow writes."""


class _Head(msgspec.Struct, array_like=True, frozen=True):
    # The body stays undecoded until name and version are known. The admission script reads
    # body.question_ids and the vector.
    schema: str
    version: int
    body: msgspec.Raw
    vector: list[_Byte] = []  # not msgpack's bytes, which the server's Lua cannot read


class _SnapshotBody(msgspec.Struct, frozen=True, omit_defaults=True):
    namespace: str
    entries: list[tuple[float, ScoredQuestion]]
    vectors: list[bytes] = []  # one per entry, or none at all


def content_id(entry: ScoredQuestion) -> str:
    """The same on every machine for the same question of a fact, so that a retried write adds
    nothing.
    """
    key = msgspec.msgpack.encode((entry.fact_id, entry.question_ids))
    return hashlib.sha256(key).hexdigest()[:32]


def check_batch(entries: Sequence[ScoredQuestion], priorities: Sequence[float]) -> None:
    """Raise `ValueError`, naming fact and question, where a batch must not be stored.

    A NumPy or torch number raises msgspec's `TypeError` now, in every store, not at the first
    checkpoint.
    """
    if len(entries) != len(priorities):
        raise ValueError(f"{len(entries)} questions came with {len(priorities)} priorities")
    for entry, priority in zip(entries, priorities, strict=True):
        problem = _number_problem(entry, priority)
        if problem is not None:
            raise ValueError(f"{problem} for fact {entry.fact_id!r}, question {entry.question!r}")
        encode_entry(entry)


def encode_entry(entry: ScoredQuestion, vector: bytes = b"") -> bytes:
    """Bytes of one entry and its sentence vector. Check it with `check_batch` first."""
    return msgspec.msgpack.encode((_ENTRY, SCHEMA_VERSION, entry, array("b", vector).tolist()))


def decode_entry(data: bytes | None, priority: float, *, fact_id: str, entry_id: str) -> Stored:
    """The entry stored for this fact under this id, with this priority.

    Raises `PayloadError` if it is absent, corrupted, of another schema, or belongs elsewhere.
    """
    if data is None:
        raise PayloadError("no payload is stored for this id")
    entry, vector = _open(data, _ENTRY, ScoredQuestion)
    problem = _number_problem(entry, priority)
    if problem is not None:
        raise PayloadError(problem)
    if entry.fact_id != fact_id or content_id(entry) != entry_id:
        raise PayloadError("the payload belongs to another fact or id")
    return Stored(priority, entry_id, entry, vector)


def encode_snapshot(namespace: str, entries: Iterable[Stored]) -> bytes:
    """Bytes of a whole store, in an order that depends on nothing but its content."""
    ordered = sorted(entries, key=lambda stored: (stored.entry.fact_id, stored.order))
    vectors = [stored.vector for stored in ordered]
    body = _SnapshotBody(
        namespace=namespace,
        entries=[(stored.priority, stored.entry) for stored in ordered],
        vectors=vectors if any(vectors) else [],
    )
    return msgspec.msgpack.encode((_SNAPSHOT, SCHEMA_VERSION, body))


def snapshot_namespace(data: bytes) -> str:
    """Which namespace a snapshot is of. Raises `PayloadError` for other bytes."""
    return _open(data, _SNAPSHOT, _SnapshotBody)[0].namespace


def decode_snapshot(data: bytes, namespace: str) -> list[Stored]:
    """The entries of a snapshot, best first within each fact.

    Raises `PayloadError` for other bytes and `UserError` for another namespace's snapshot.
    """
    body, _ = _open(data, _SNAPSHOT, _SnapshotBody)
    if body.namespace != namespace:
        raise UserError(
            f"the replay snapshot was written for namespace {body.namespace}, this run has {namespace}: "
            "prompt, tokenizer, oracle or judge changed; resume with the checkpoint's settings or start anew"
        )
    for priority, entry in body.entries:
        problem = _number_problem(entry, priority)
        if problem is not None:
            raise PayloadError(problem)
    vectors = body.vectors or [b""] * len(body.entries)
    if len(vectors) != len(body.entries):
        raise PayloadError(f"{len(body.entries)} entries came with {len(vectors)} vectors")
    return [
        Stored(priority, content_id(entry), entry, vector)
        for (priority, entry), vector in zip(body.entries, vectors, strict=True)
    ]


def entries_of(data: bytes) -> list[ScoredQuestion]:
    """The questions of a snapshot of whatever namespace. Raises `PayloadError` for other bytes."""
    return [entry for _, entry in _open(data, _SNAPSHOT, _SnapshotBody)[0].entries]


# What every entry's bytes begin with; the server tells foreign payloads by it. (The last two are
# body, vector.)
PAYLOAD_PREFIX = msgspec.msgpack.encode((_ENTRY, SCHEMA_VERSION, None, None))[:-2]


def _open(data: bytes, schema: str, body_type: type[T]) -> tuple[T, bytes]:
    try:
        head = msgspec.msgpack.decode(data, type=_Head)
        if (head.schema, head.version) != (schema, SCHEMA_VERSION):
            found = f"{head.schema!r:.40} version {head.version}"
            raise PayloadError(f"expected {schema} version {SCHEMA_VERSION}, found {found}")
        return msgspec.msgpack.decode(head.body, type=body_type), array("b", head.vector).tobytes()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"not a {schema} payload: {error}") from error


def _number_problem(entry: ScoredQuestion, priority: float) -> str | None:
    """What is not finite, in words; None where all is well."""
    named = {
        "priority": priority,
        "log_contradiction": entry.log_contradiction,
        "log_p_answer": entry.log_p_answer,
        "log_entailment": entry.log_entailment,
        "log_p_question": sum(entry.log_prior),
    }
    return next(
        (f"{name} is {value}" for name, value in named.items() if not math.isfinite(value)), None
    )
