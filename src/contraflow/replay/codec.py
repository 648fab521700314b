"""Typed bytes for entries and snapshots: msgpack with a schema name and version, never pickle.

Anybody who can write to a shared server can plant bytes in it. Decoding builds only the types named
here and checks every number. It raises `PayloadError` for anything else; the stores catch the
error, skip the entry and count it.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Annotated, TypeVar

import msgspec

from contraflow.errors import UserError
from contraflow.replay.base import ReplayEntry
from contraflow.types import ScoredQuestion

SCHEMA_VERSION = 3  # also part of every Redis key, so that versions do not mix
_ENTRY = "contraflow.question"
_SNAPSHOT = "contraflow.replay"
T = TypeVar("T")
_N_IDS = 2**31  # no vocabulary is larger
_N_STEPS = 2**53  # steps are averaged as floats
_LARGEST = 1e30  # of a log-probability; sums of several stay finite in single precision
_Byte = Annotated[int, msgspec.Meta(ge=-128, le=127)]


class PayloadError(Exception):
    """Bytes that this version of contraflow did not write."""


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
    vectors: list[bytes] = []  # one per entry, or empty


def content_id(scored: ScoredQuestion) -> str:
    """Hash of fact_id and tokens: equal on every machine, so that a repeated write adds nothing.

    It names an entry among those of one fact, and leaves the fact's hash out: the ids break ties
    between equal priorities, and an entry of an older version keeps its place.
    """
    key = msgspec.msgpack.encode((scored.fact_id, scored.question_ids))
    return hashlib.sha256(key).hexdigest()[:32]


def check_batch(questions: Sequence[ScoredQuestion], priorities: Sequence[float]) -> None:
    """Raise `ValueError`, naming fact and question, where a batch must not be stored.

    That is a number that is not finite, a token id out of range, or a `log_prior` of wrong length.

    A NumPy or torch number raises msgspec's `TypeError` here, in every store, instead of at the
    first checkpoint.
    """
    if len(questions) != len(priorities):
        raise ValueError(f"{len(questions)} questions came with {len(priorities)} priorities")
    for scored, priority in zip(questions, priorities, strict=True):
        problem = _malformed(scored, priority)
        if problem is not None:
            raise ValueError(f"{problem} for fact {scored.fact_id!r}, question {scored.question!r}")
        encode_entry(scored)


def encode_entry(scored: ScoredQuestion, vector: bytes = b"") -> bytes:
    """Bytes of one entry and its sentence vector. Check it with `check_batch` first."""
    return msgspec.msgpack.encode((_ENTRY, SCHEMA_VERSION, scored, array("b", vector).tolist()))


def decode_entry(
    data: bytes | None, priority: float, *, fact_key: str, entry_id: str
) -> ReplayEntry:
    """The entry stored for this fact under this id, with this priority.

    Raises `PayloadError` if it is absent, corrupted, of another schema, or of another fact or id.
    """
    if data is None:
        raise PayloadError(
            "no payload is stored for this id; a server whose maxmemory-policy is not noeviction "
            "removes entries"
        )
    scored, vector = _open(data, _ENTRY, ScoredQuestion)
    problem = _malformed(scored, priority)
    if problem is not None:
        raise PayloadError(problem)
    if scored.fact_key != fact_key or content_id(scored) != entry_id:
        raise PayloadError("the payload belongs to another fact or id")
    return ReplayEntry(priority, entry_id, scored, vector)


def encode_snapshot(namespace: str, entries: Iterable[ReplayEntry]) -> bytes:
    """Bytes of a whole store, in an order that depends only on its content."""
    ordered = sorted(entries, key=_snapshot_key)
    vectors = [entry.vector for entry in ordered]
    body = _SnapshotBody(
        namespace=namespace,
        entries=[(entry.priority, entry.scored) for entry in ordered],
        vectors=vectors if any(vectors) else [],
    )
    return msgspec.msgpack.encode((_SNAPSHOT, SCHEMA_VERSION, body))


def _snapshot_key(entry: ReplayEntry) -> tuple[str, str, tuple[float, str]]:
    return entry.scored.fact_id, entry.scored.fact_hash, entry.sort_key


def snapshot_namespace(data: bytes) -> str:
    """The namespace that a snapshot was written for. Raises `PayloadError` for other bytes."""
    return _open(data, _SNAPSHOT, _SnapshotBody)[0].namespace


def decode_snapshot(data: bytes, namespace: str) -> list[ReplayEntry]:
    """The entries of a snapshot, best first within each fact.

    Raises `PayloadError` for other bytes and `UserError` for a snapshot of another namespace.
    """
    body, _ = _open(data, _SNAPSHOT, _SnapshotBody)
    if body.namespace != namespace:
        raise UserError(
            f"the replay snapshot was written for namespace {body.namespace}, this run has "
            f"{namespace}: prompt, tokenizer, oracle, judge or reward changed; resume with the "
            "checkpoint's settings or start anew"
        )
    for priority, scored in body.entries:
        problem = _malformed(scored, priority)
        if problem is not None:
            raise PayloadError(problem)
    vectors = body.vectors or [b""] * len(body.entries)
    if len(vectors) != len(body.entries):
        raise PayloadError(f"{len(body.entries)} entries came with {len(vectors)} vectors")
    return [
        ReplayEntry(priority, content_id(scored), scored, vector)
        for (priority, scored), vector in zip(body.entries, vectors, strict=True)
    ]


def entries_of(data: bytes) -> list[ScoredQuestion]:
    """The questions of a snapshot of any namespace. Raises `PayloadError` for other bytes."""
    return [scored for _, scored in _open(data, _SNAPSHOT, _SnapshotBody)[0].entries]


# The first bytes of every entry; the server recognizes foreign payloads by them. The last two bytes
# are body and vector.
PAYLOAD_PREFIX = msgspec.msgpack.encode((_ENTRY, SCHEMA_VERSION, None, None))[:-2]


def _open(data: bytes, schema: str, body_type: type[T]) -> tuple[T, bytes]:
    """Body and sentence vector of a payload, after its schema name and version are checked."""
    try:
        head = msgspec.msgpack.decode(data, type=_Head)
        if (head.schema, head.version) != (schema, SCHEMA_VERSION):
            found = f"{head.schema!r:.40} version {head.version}"
            raise PayloadError(f"expected {schema} version {SCHEMA_VERSION}, found {found}")
        return msgspec.msgpack.decode(head.body, type=body_type), array("b", head.vector).tobytes()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"not a {schema} payload: {error}") from error


def _malformed(scored: ScoredQuestion, priority: float) -> str | None:
    """What makes a question unusable, or None.

    Wrong lengths and token ids would stop a run that samples the question, as would a number that
    is infinite in single precision.
    """
    ids = scored.question_ids
    if len(scored.log_prior) != len(ids) + 1:
        return f"log_prior has {len(scored.log_prior)} numbers, not {len(ids)} + 1 for the stop"
    if ids and (min(ids) < 0 or max(ids) >= _N_IDS):
        return f"a token id is {min(ids) if min(ids) < 0 else max(ids)}"
    if not abs(scored.step) < _N_STEPS:
        return f"step is {scored.step}"
    if not math.isfinite(priority):
        return f"priority is {priority}"
    numbers = {
        "log_contradiction": scored.log_contradiction,
        "log_p_answer": scored.log_p_answer,
        "log_entailment": scored.log_entailment,
        "log_p_question": sum(scored.log_prior),
        "log_prior": max(scored.log_prior, key=abs),
    }
    for name, value in numbers.items():
        if not abs(value) < _LARGEST:
            return f"{name} is {value}"
    return None
