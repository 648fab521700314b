"""The fact of a record, by which records are grouped.

One file of questions may come from several files of facts, which may use one `fact_id` twice. So a
fact is known by its subject and statement too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from contraflow.evaluation.records import QuestionRecord


class FactOfRecord(NamedTuple):
    """What a record says of its fact; equal for the records of one fact only."""

    fact_id: str
    subject: str
    edit_fact: str


def fact_of(record: QuestionRecord) -> FactOfRecord:
    """The fact that a record is about."""
    return FactOfRecord(record.fact_id, record.subject, record.edit_fact)


def by_fact(records: Iterable[QuestionRecord]) -> dict[FactOfRecord, list[QuestionRecord]]:
    """The records of each fact, in their order; the facts in the order of their first record."""
    groups: dict[FactOfRecord, list[QuestionRecord]] = {}
    for record in records:
        groups.setdefault(fact_of(record), []).append(record)
    return groups
