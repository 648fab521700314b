"""What a learner and its actors tell each other: typed structs, encoded as MessagePack."""

from __future__ import annotations

import msgspec

from contraflow.experience.density import DrawnBatch


class Assignment(msgspec.Struct, frozen=True):
    """A piece of work: sample and score questions about the facts of one number.

    number: 0, 1, 2, … over the whole run; facts and random stream are derived from it.
    version: of the adapter to sample with.
    step: optimizer steps that this version has seen.
    """

    number: int
    version: int
    step: int


class Collected(msgspec.Struct, frozen=True, tag=True):
    """The questions of an assignment, those of one fact adjacent, all offered to replay."""

    assignment: Assignment
    batch: DrawnBatch


class Refused(msgspec.Struct, frozen=True, tag=True):
    """An error that the user can mend, as its one line."""

    message: str


Reply = Collected | Refused
