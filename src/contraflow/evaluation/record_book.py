"""Scored questions of an evaluation that was stopped: a file, one line a batch of `rollout`.

A line has a key of all that its questions and scores depend on, so other settings or models never
find it. It keeps the state of the random numbers behind the batch too: the next batch is drawn as
if this one had been drawn again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import torch

from contraflow.evaluation.records import QuestionRecord, record_of_row
from contraflow.facts import Fact
from contraflow.system.files import append
from contraflow.system.kept_lines import kept_lines


class Batches(Protocol):
    """Where `rollout` gets the scored questions of each batch."""

    def batch(
        self,
        facts: Sequence[Fact],
        settings: Sequence[object],
        rng: torch.Generator,
        score: Callable[[], Iterable[QuestionRecord]],
    ) -> Iterable[QuestionRecord]: ...


class NothingKept:
    """Every batch is drawn and scored."""

    def batch(
        self,
        facts: Sequence[Fact],  # noqa: ARG002
        settings: Sequence[object],  # noqa: ARG002
        rng: torch.Generator,  # noqa: ARG002
        score: Callable[[], Iterable[QuestionRecord]],
    ) -> Iterable[QuestionRecord]:
        """What ``score`` gives."""
        return score()


class _Line(msgspec.Struct, frozen=True):
    run: str
    key: str
    rng: bytes  # state behind the batch
    records: list[dict[str, Any]]


class RecordBook:
    """The batches that one sampler, oracle, judge and reward have finished.

    Args:
        identity: of these four; lines of others are not used.
    Raises: UserError for a file that holds something else.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.identity = identity
        remedy = "its questions will be scored again"
        found = kept_lines(path, _Line, what="a batch of questions that was kept", remedy=remedy)
        self._lines = {line.key: line for line in found if line.run == identity}

    @property
    def n_records(self) -> int:
        """How many scored questions can be used."""
        return sum(len(line.records) for line in self._lines.values())

    def batch(
        self,
        facts: Sequence[Fact],
        settings: Sequence[object],
        rng: torch.Generator,
        score: Callable[[], Iterable[QuestionRecord]],
    ) -> Iterable[QuestionRecord]:
        """The questions of a batch: kept ones, or those that ``score`` draws with ``rng``.

        Args:
            settings: of the draw, JSON values; a part of the key, as facts and ``rng`` are.
        Raises: UserError where the file cannot be written.
        """
        key = self._key(facts, settings, rng)
        kept = self._lines.get(key)
        if kept is not None:
            rng.set_state(torch.frombuffer(bytearray(kept.rng), dtype=torch.uint8))
            return [record_of_row(row) for row in kept.records]
        records = list(score())
        # JSON has no infinity: such a batch is made again, from the same answers.
        if not any(_has_infinity(record) for record in records):
            self._keep(key, records, rng)
        return records

    def _key(self, facts: Sequence[Fact], settings: Sequence[object], rng: torch.Generator) -> str:
        content = msgspec.json.encode([self.identity, list(settings), list(facts)])
        digest = hashlib.blake2b(content, digest_size=12)
        digest.update(_state(rng))
        return digest.hexdigest()

    def _keep(self, key: str, records: Sequence[QuestionRecord], rng: torch.Generator) -> None:
        rows = [msgspec.to_builtins(record) for record in records]
        line = _Line(self.identity, key, _state(rng), rows)
        append(self.path, msgspec.json.encode(line) + b"\n", sync=True)


def _state(rng: torch.Generator) -> bytes:
    return rng.get_state().numpy().tobytes()


def _has_infinity(record: QuestionRecord) -> bool:
    values = (getattr(record, name) for name in record.__struct_fields__)
    return any(isinstance(value, float) and math.isinf(value) for value in values)
