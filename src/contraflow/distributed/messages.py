"""The messages between ranks: typed structs, encoded as MessagePack, never pickled."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from contraflow.facts import Fact

T = TypeVar("T")


class Plan(msgspec.Struct, frozen=True):
    """What rank 0 prepared and other ranks need to start training."""

    train_facts: tuple[Fact, ...]
    replay_namespace: str
    replay_url: str | None  # where the shared store is; None where each rank has a store of its own
    checkpoint: bytes  # last.ckpt; empty for a new run


class StepMetrics(msgspec.Struct, frozen=True):
    """A rank's step besides its gradients: the number of loss terms, and the logged metrics."""

    terms: int
    metrics: dict[str, float]


class RankMemory(msgspec.Struct, frozen=True):
    """The models that a rank held, and its peak memory."""

    rank: int
    holds: str
    host: str
    peak_bytes: int
    gpu_peak_bytes: int


def encode(message: object) -> bytes:
    """Encode a message as MessagePack."""
    return msgspec.msgpack.encode(message)


def decode(data: bytes, kind: type[T]) -> T:
    """Decode a message of the given type. Raises: msgspec.ValidationError for anything else."""
    return msgspec.msgpack.decode(data, type=kind)
