"""Typed bytes for entries and snapshots: msgpack with a schema name and version, never pickle.

Whoever can write to a shared server can plant bytes in it. Decoding builds only the types named here, checks
every number, and raises `PayloadError` for anything else, which the stores catch, skip and count.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from contraflow.errors import UserError
from contraflow.types import ScoredQuestion

SCHEMA_VERSION = 2  # also part of every Redis key, so that versions do not meet
_ENTRY = "contraflow.question"
_SNAPSHOT = "contraflow.replay"
T = TypeVar("T")


class PayloadError(Exception):
    """Bytes that are not what this version of contraflow writes."""


class _Head(msgspec.Struct, array_like=True, frozen=True):
    # The body stays undecoded until name and version are known. The admission script reads body.question_ids.
    schema: str
    version: int
    body: msgspec.Raw


class _SnapshotBody(msgspec.Struct, frozen=True):
    namespace: str
    entries: list[tuple[float, ScoredQuestion]]


def content_id(entry: ScoredQuestion) -> str:
    """The same on every machine for the same question of a fact, so that a retried write adds nothing."""
    key = msgspec.msgpack.encode((entry.fact_id, entry.question_ids))
    return hashlib.sha256(key).hexdigest()[:32]


def check_batch(entries: Sequence[ScoredQuestion], priorities: Sequence[float]) -> None:
    """Raise `ValueError`, naming fact and question, where a batch must not be stored.

    A NumPy or torch number raises msgspec's `TypeError` now, in every store, not at the first checkpoint.
    """
    if len(entries) != len(priorities):
        raise ValueError(f"{len(entries)} questions came with {len(priorities)} priorities")
    for entry, priority in zip(entries, priorities, strict=True):
        problem = _number_problem(entry, priority)
        if problem is not None:
            raise ValueError(f"{problem} for fact {entry.fact_id!r}, question {entry.question!r}")
        encode_entry(entry)


def encode_entry(entry: ScoredQuestion) -> bytes:
    """Bytes of one entry. Check it with `check_batch` first."""
    return _seal(_ENTRY, entry)


def decode_entry(data: bytes | None, *, fact_id: str, entry_id: str) -> ScoredQuestion:
    """The entry stored for this fact under this id.

    Raises `PayloadError` if it is absent, corrupted, of another schema, or belongs elsewhere.
    """
    if data is None:
        raise PayloadError("no payload is stored for this id")
    entry = _open(data, _ENTRY, ScoredQuestion)
    problem = _number_problem(entry, 0.0)
    if problem is not None:
        raise PayloadError(problem)
    if entry.fact_id != fact_id or content_id(entry) != entry_id:
        raise PayloadError("the payload belongs to another fact or id")
    return entry


def encode_snapshot(namespace: str, entries: Iterable[tuple[float, ScoredQuestion]]) -> bytes:
    """Bytes of a whole store, in an order that depends on nothing but its content."""
    ordered = sorted(entries, key=lambda item: (item[1].fact_id, -item[0], content_id(item[1])))
    return _seal(_SNAPSHOT, _SnapshotBody(namespace=namespace, entries=ordered))


def decode_snapshot(data: bytes, namespace: str) -> list[tuple[float, ScoredQuestion]]:
    """The entries of a snapshot, best first within each fact.

    Raises `PayloadError` for other bytes and `UserError` for another namespace's snapshot.
    """
    body = _open(data, _SNAPSHOT, _SnapshotBody)
    if body.namespace != namespace:
        raise UserError(
            f"the replay snapshot was written for namespace {body.namespace}, this run has {namespace}: "
            "prompt, tokenizer, oracle or judge changed; resume with the checkpoint's settings or start anew"
        )
    for priority, entry in body.entries:
        problem = _number_problem(entry, priority)
        if problem is not None:
            raise PayloadError(problem)
    return body.entries


def _seal(schema: str, body: object) -> bytes:
    return msgspec.msgpack.encode((schema, SCHEMA_VERSION, body))


# What every entry's bytes begin with; the server tells foreign payloads by it.
PAYLOAD_PREFIX = _seal(_ENTRY, None)[:-1]


def _open(data: bytes, schema: str, body_type: type[T]) -> T:
    try:
        head = msgspec.msgpack.decode(data, type=_Head)
        if (head.schema, head.version) != (schema, SCHEMA_VERSION):
            found = f"{head.schema!r:.40} version {head.version}"
            raise PayloadError(f"expected {schema} version {SCHEMA_VERSION}, found {found}")
        return msgspec.msgpack.decode(head.body, type=body_type)
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
    return next((f"{name} is {value}" for name, value in named.items() if not math.isfinite(value)), None)
