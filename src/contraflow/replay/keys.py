"""The keys of a namespace on a server: a set of its facts, and two keys for each fact."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from contraflow.replay.codec import SCHEMA_VERSION

KEY_ROOT = f"contraflow:replay:{SCHEMA_VERSION}:"


class FactKeys(NamedTuple):
    """The keys of one fact, which share a hash tag."""

    ranked: str  # a sorted set: id -> priority
    payloads: str  # a hash: id -> payload


class Keys:
    """The keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    @property
    def index(self) -> str:
        """The key of the set of facts."""
        return f"{KEY_ROOT}{{{self._namespace}}}:facts"

    def of_fact(self, fact: str | bytes) -> FactKeys:
        """The keys of a fact, which is given by its key or by the bytes that the index lists."""
        data = fact if isinstance(fact, bytes) else fact.encode()
        # The fact is hashed: a brace in it would end the hash tag early and separate the keys.
        tag = f"{self._namespace}:{hashlib.sha256(data).hexdigest()[:24]}"
        return FactKeys(f"{KEY_ROOT}{{{tag}}}:z", f"{KEY_ROOT}{{{tag}}}:h")
