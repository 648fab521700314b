"""What ranks say to each other, typed, as MessagePack."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from contraflow.facts import Fact

T = TypeVar("T")


class Plan(msgspec.Struct, frozen=True):
    """What rank 0 has prepared for the ranks that start to train with it."""

    train_facts: tuple[Fact, ...]
    replay_namespace: str
    replay_url: str | None  # where the shared store is; None where each rank has a store of its own
    checkpoint: bytes  # last.ckpt; empty for a new run


class StepMetrics(msgspec.Struct, frozen=True):
    """What a rank has of a step besides gradients: how many terms its loss is the mean of, and its
    numbers.
    """

    terms: int
    metrics: dict[str, float]


class RankMemory(msgspec.Struct, frozen=True):
    """What a rank held, and the most memory it had at once."""

    rank: int
    holds: str
    host: str
    peak_bytes: int
    gpu_peak_bytes: int


def encode(message: object) -> bytes:
    """Bytes of a message."""
    return msgspec.msgpack.encode(message)


def decode(data: bytes, kind: type[T]) -> T:
    """The message, if it is one of that kind. Raises: msgspec.ValidationError."""
    return msgspec.msgpack.decode(data, type=kind)
