"""MQuAKE-CF and MQuAKE-T (Zhong et al. 2023): chains of hops, with the edits that change their end.

Every edit of a chain is a fact; an edit in several chains is one fact. The hop that an edit changes
has the other spellings of its answers. A chain's multi-hop questions, whose answer follows from all
of its edits, and its hops that no edit changes are tests of its first edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._probes import TestPrompts
from contraflow.facts.formats._published import Published
from contraflow.facts.formats._rewrite import Rewrite


class Hop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One hop of a chain."""

    question: str
    answer: str
    cloze: str = ""
    answer_alias: list[str] = []


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chain as published."""

    requested_rewrite: list[Rewrite]
    single_hops: list[Hop]
    case_id: Any = None
    questions: Any = None
    answer: Any = None
    answer_alias: Any = None
    answer_extended: Any = None  # in MQuAKE-T
    new_answer: Any = None
    new_answer_alias: Any = None
    new_answer_extended: Any = None
    new_single_hops: Any = None
    orig: Any = None


def _edits(row: Row) -> Iterator[Mapping[str, object]]:
    if not row.requested_rewrite:
        raise BadRowError("field 'requested_rewrite' is empty; a row needs an edit")
    tests = _chain_tests(row)
    for rewrite in row.requested_rewrite:
        hops = _hops(row.new_single_hops)
        edited_aliases = _spellings(hops, rewrite, rewrite.target_new.text)
        fields = rewrite.row(_spellings(row.single_hops, rewrite, rewrite.target_true.text))
        yield fields | {"edited_aliases": edited_aliases} | tests.fields()
        tests = TestPrompts()  # a chain is tested once, with its first edit


def _chain_tests(row: Row) -> TestPrompts:
    """Return the questions about the whole chain and about its hops that no edit changes."""
    tests = TestPrompts()
    tests.add(
        "portability",
        "multi_hop",
        row.questions,
        [row.new_answer, row.new_answer_alias],
        [row.answer, row.answer_alias],
    )
    edited = {rewrite.question for rewrite in row.requested_rewrite}
    edited |= {rewrite.cloze for rewrite in row.requested_rewrite}
    asked: set[str] = set()
    for hop in (*row.single_hops, *_hops(row.new_single_hops)):
        if not {hop.question, hop.cloze.strip()} & edited and hop.question not in asked:
            asked.add(hop.question)
            answers = [hop.answer, hop.answer_alias]
            tests.add("locality", "locality/single_hop", hop.question, answers)
    return tests


def _hops(value: object) -> list[Hop]:
    """Return the hops after the edits; none if they are not as published."""
    try:
        return msgspec.convert(value or [], list[Hop])
    except (msgspec.ValidationError, UnicodeEncodeError):
        return []


def _spellings(hops: list[Hop], rewrite: Rewrite, answer: str) -> list[str]:
    """Return the spellings of an answer from the hop that asks for it, if any."""
    for hop in hops:
        same_question = bool(rewrite.question) and hop.question == rewrite.question
        same_cloze = hop.cloze.strip() == rewrite.cloze
        if (same_cloze or same_question) and hop.answer == answer:
            return hop.answer_alias
    return []


read = Published("MQuAKE", Row, _edits)
