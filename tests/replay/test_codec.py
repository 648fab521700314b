"""Bytes from anywhere decode to an entry or a typed error, and to nothing else."""

from __future__ import annotations

import math
import pickle
import random
import re
import struct
from pathlib import Path

import msgspec
import pytest

from contraflow.replay import codec
from contraflow.replay.base import ReplayEntry
from contraflow.replay.codec import (
    SCHEMA_VERSION,
    PayloadError,
    content_id,
    decode_entry,
    encode_entry,
)
from support.replay import Bomb, question


def _decode(data: bytes | None) -> object:
    entry = question("f", [1, 2])
    return decode_entry(data, -1.0, fact_key="f", entry_id=content_id(entry))


def test_an_entry_survives_the_wire_exactly() -> None:
    entry = question("f", [1, 2], log_contradiction=math.nextafter(-1.0, 0))
    assert _decode(encode_entry(entry, b"\x01\xff")) == ReplayEntry(
        -1.0, content_id(entry), entry, b"\x01\xff"
    )
    assert encode_entry(entry).startswith(codec.PAYLOAD_PREFIX)


@pytest.mark.defect(12)
def test_a_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    with pytest.raises(PayloadError):
        _decode(bomb)
    assert not (tmp_path / "boom").exists()
    pickle.loads(bomb)
    assert (tmp_path / "boom").exists(), "the bomb itself works"


def test_foreign_payloads_raise_the_typed_error() -> None:
    good = encode_entry(question("f", [1, 2]))
    body = msgspec.msgpack.decode(good)[2]
    bad = {
        "absent": None,
        "empty": b"",
        "text": b"hello",
        "cut short": good[:-1],
        "too long": good + b"\0",
        "nested deep": b"\x91" * 100_000,
        "invalid utf-8": good.replace(b"Nobody", b"\xff\xfeody"),
        "another version": msgspec.msgpack.encode(["contraflow.question", 1, body]),
        "another schema": msgspec.msgpack.encode(["contraflow.answer", SCHEMA_VERSION, body]),
        "a missing field": msgspec.msgpack.encode(
            ["contraflow.question", SCHEMA_VERSION, {"fact_id": "f"}]
        ),
        "a wrong type": msgspec.msgpack.encode(
            ["contraflow.question", SCHEMA_VERSION, {**body, "question_ids": ["a"]}]
        ),
        "not finite": msgspec.msgpack.encode(
            ["contraflow.question", SCHEMA_VERSION, {**body, "log_p_answer": math.nan}]
        ),
        "infinite in single precision": encode_entry(
            question("f", [1, 2], log_contradiction=-1e39)
        ),
        "a step that is no step": encode_entry(question("f", [1, 2], step=2**63)),
        "another fact's": encode_entry(question("g", [1, 2])),
        "another question's": encode_entry(question("f", [1, 3])),
    }
    for name, data in bad.items():
        with pytest.raises(PayloadError):
            _decode(data)
            pytest.fail(name)


def test_damaged_bytes_never_raise_anything_else() -> None:
    good, rng = encode_entry(question("f", [1, 2])), random.Random(0)
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            _decode(bytes(data))
        except PayloadError:
            continue


def test_bytes_of_a_version_without_hashes_of_facts_are_read() -> None:
    """They have no field `fact_hash`, and are stored under the fact_id."""
    entry = question("f", [1, 2])
    schema, version, body, vector = msgspec.msgpack.decode(encode_entry(entry))
    del body["fact_hash"]
    older = msgspec.msgpack.encode([schema, version, body, vector])
    assert _decode(older) == ReplayEntry(-1.0, content_id(entry), entry)


def test_an_entry_of_another_version_of_the_fact_is_refused() -> None:
    """Its verdicts may be stale: of other aliases, or of another original fact."""
    entry = msgspec.structs.replace(question("f", [1, 2]), fact_hash="0" * 16)
    assert entry.fact_key == f"f#{'0' * 16}"
    with pytest.raises(PayloadError, match="another fact"):
        _decode(encode_entry(entry))
    named = {"fact_key": entry.fact_key, "entry_id": content_id(question("f", [1, 2]))}
    assert decode_entry(encode_entry(entry), -1.0, **named).scored == entry


def test_a_snapshot_with_a_number_that_is_not_finite_is_refused() -> None:
    data = codec.encode_snapshot("n", [ReplayEntry(1.5, "id", question("f", [1]))])
    infinite = data.replace(struct.pack(">d", 1.5), struct.pack(">d", math.inf))
    assert infinite != data
    with pytest.raises(PayloadError, match="priority is inf"):
        codec.decode_snapshot(infinite, "n")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"log_prior": (-1.0, -1.0)}, "log_prior has 2 numbers, not 2 + 1 for the stop"),
        ({"log_prior": (-1.0,) * 4}, "log_prior has 4 numbers, not 2 + 1 for the stop"),
        ({"log_prior": ()}, "log_prior has 0 numbers, not 2 + 1 for the stop"),
        ({"question_ids": (3, -1)}, "a token id is -1"),
        ({"question_ids": (3, 2**31)}, "a token id is 2147483648"),
        ({"question_ids": (3, 2**64 - 1)}, "a token id is 18446744073709551615"),
        ({"log_prior": (1e300, -1e300, -1.0)}, "log_prior is 1e+300"),
        ({"log_p_answer": -1e39}, "log_p_answer is -1e+39"),
    ],
)
def test_an_entry_that_would_stop_a_run_is_refused_both_ways(
    change: dict[str, object], problem: str
) -> None:
    bad = msgspec.structs.replace(question("f", [1, 2]), **change)
    with pytest.raises(ValueError, match=re.escape(f"{problem} for fact 'f'")):
        codec.check_batch([bad], [0.0])
    with pytest.raises(PayloadError, match=re.escape(problem)):
        decode_entry(encode_entry(bad), -1.0, fact_key="f", entry_id=content_id(bad))
    data = codec.encode_snapshot("n", [ReplayEntry(0.0, content_id(bad), bad)])
    with pytest.raises(PayloadError, match=re.escape(problem)):
        codec.decode_snapshot(data, "n")
