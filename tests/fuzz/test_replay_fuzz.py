"""Replay bytes from anywhere: an entry, a snapshot or a typed error, and never a call."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contraflow.errors import UserError
from contraflow.replay import codec
from contraflow.replay.base import ReplayEntry
from contraflow.replay.codec import PayloadError, content_id
from contraflow.types import ScoredQuestion
from fuzz.mutations import changed, examples, mutated, texts
from support.replay import Bomb, question

pytestmark = pytest.mark.slow

ENTRY = question("f", [1, 2])
ENTRY_BYTES = codec.encode_entry(ENTRY, b"\x01\xff")
SNAPSHOT_BYTES = codec.encode_snapshot(
    "n",
    [
        ReplayEntry(-1.0, content_id(ENTRY), ENTRY, b"\x01"),
        ReplayEntry(-2.0, content_id(question("g", [])), question("g", []), b"\x02"),
    ],
)
NUMBERS = st.floats(-1e29, 1e29)


@st.composite
def questions(draw: Any) -> ScoredQuestion:
    """A valid question."""
    ids = draw(st.lists(st.integers(0, 2**31 - 1), max_size=4))
    priors = st.lists(NUMBERS.map(lambda x: x / 8), min_size=len(ids) + 1, max_size=len(ids) + 1)
    return ScoredQuestion(
        fact_id=draw(texts()),
        question_ids=tuple(ids),
        question=draw(texts()),
        answer=draw(texts()),
        log_contradiction=draw(NUMBERS),
        log_p_answer=draw(NUMBERS),
        log_entailment=draw(NUMBERS),
        log_prior=tuple(draw(priors)),
        question_ok=draw(st.booleans()),
        step=draw(st.integers(-(2**53) + 1, 2**53 - 1)),
        sampler=draw(texts()),
    )


def _changed_trees(data: bytes) -> st.SearchStrategy[bytes]:
    """Well-formed msgpack in which one value is another."""
    tree = msgspec.msgpack.decode(data)
    trees = st.sampled_from([tree]).flatmap(changed)
    return trees.filter(_fits_msgpack).map(msgspec.msgpack.encode)


def _fits_msgpack(tree: Any) -> bool:
    try:
        msgspec.msgpack.encode(tree)
    except OverflowError:
        return False
    return True


def _damaged(good: bytes) -> st.SearchStrategy[bytes]:
    prefix = st.binary(max_size=40).map(lambda tail: codec.PAYLOAD_PREFIX + tail)
    return st.one_of(st.binary(max_size=80), prefix, mutated(good), _changed_trees(good))


def _assert_usable(scored: ScoredQuestion, priority: float) -> None:
    codec.check_batch([scored], [priority])
    assert math.isfinite(scored.log_p_question)


@given(data=_damaged(ENTRY_BYTES))
@examples(1500)
def test_bytes_of_an_entry_are_that_entry_or_refused(data: bytes) -> None:
    try:
        entry = codec.decode_entry(data, -1.0, fact_key="f", entry_id=content_id(ENTRY))
    except PayloadError as error:
        assert str(error).strip()
        return
    assert entry.scored.fact_key == "f"
    assert entry.scored.question_ids == ENTRY.question_ids
    _assert_usable(entry.scored, entry.priority)


@given(data=_damaged(SNAPSHOT_BYTES))
@examples(1500)
def test_bytes_of_a_snapshot_are_usable_or_refused(data: bytes) -> None:
    try:
        entries = codec.decode_snapshot(data, "n")
    except PayloadError as error:
        assert str(error).strip()
        return
    except UserError as error:
        assert "was written for namespace" in str(error)
        return
    assert codec.snapshot_namespace(data) == "n"
    assert codec.entries_of(data) == [entry.scored for entry in entries]
    for entry in entries:
        _assert_usable(entry.scored, entry.priority)
        assert entry.entry_id == content_id(entry.scored)


@given(
    where=st.integers(0, len(ENTRY_BYTES)),
    protocol=st.integers(0, pickle.HIGHEST_PROTOCOL),
    kind=st.sampled_from(["alone", "inserted", "in a field"]),
)
@examples(300)
def test_a_pickle_in_replay_bytes_is_never_run(
    tmp_path: Path, where: int, protocol: int, kind: str
) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "boom"), protocol)
    head, version, body, vector = msgspec.msgpack.decode(ENTRY_BYTES)
    data = {
        "alone": bomb,
        "inserted": ENTRY_BYTES[:where] + bomb + ENTRY_BYTES[where:],
        "in a field": msgspec.msgpack.encode([head, version, {**body, "answer": bomb}, vector]),
    }[kind]
    for decode in (
        lambda: codec.decode_entry(data, -1.0, fact_key="f", entry_id=content_id(ENTRY)),
        lambda: codec.decode_snapshot(data, "n"),
    ):
        with pytest.raises(PayloadError):
            decode()
    assert not (tmp_path / "boom").exists()


@given(scored=questions(), priority=st.floats(-1e300, 1e300), vector=st.binary(max_size=8))
@examples(1000)
def test_a_valid_entry_survives_the_bytes(
    scored: ScoredQuestion, priority: float, vector: bytes
) -> None:
    codec.check_batch([scored], [priority])
    entry = ReplayEntry(priority, content_id(scored), scored, vector)
    data = codec.encode_entry(scored, vector)
    assert data.startswith(codec.PAYLOAD_PREFIX)
    assert entry == codec.decode_entry(
        data, priority, fact_key=scored.fact_key, entry_id=entry.entry_id
    )


@given(
    scored=st.lists(questions(), max_size=4, unique_by=content_id),
    priority=st.floats(-1e300, 1e300),
    vectors=st.lists(st.binary(min_size=1, max_size=3), min_size=4, max_size=4),
    namespace=texts(),
)
@examples(500)
def test_a_snapshot_survives_the_bytes(
    scored: list[ScoredQuestion], priority: float, vectors: list[bytes], namespace: str
) -> None:
    entries = [
        ReplayEntry(priority, content_id(one), one, vector)
        for one, vector in zip(scored, vectors, strict=False)
    ]
    data = codec.encode_snapshot(namespace, entries)
    assert codec.encode_snapshot(namespace, reversed(entries)) == data
    decoded = codec.decode_snapshot(data, namespace)
    by_id = {entry.entry_id: entry for entry in decoded}
    assert by_id == {entry.entry_id: entry for entry in entries}
    assert len(decoded) == len(entries)
