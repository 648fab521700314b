"""MQuAKE-CF and MQuAKE-T (Zhong et al. 2023): chains of hops, each with the edits that change where
it ends.

Every edit of a chain is a fact; an edit that serves several chains is one fact. Other spellings of
the original answer stand at the hop that the edit changes. The multi-hop questions test an edited
model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._clozes import filled
from contraflow.facts.formats._published import Published
from contraflow.facts.formats._rewrite import Rewrite


class Hop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a chain before the edits."""

    question: str
    answer: str
    cloze: str = ""
    answer_alias: list[str] = []


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A chain as published; only its edits and its single hops are read."""

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


def _facts(row: Row) -> Iterator[Mapping[str, object]]:
    if not row.requested_rewrite:
        raise BadRowError("field 'requested_rewrite' is empty; a row needs an edit")
    for rewrite in row.requested_rewrite:
        yield rewrite.fact(_spellings(row.single_hops, rewrite))


def _spellings(hops: list[Hop], rewrite: Rewrite) -> list[str]:
    """Of the original answer, where a hop asks for what the edit changes."""
    cloze = filled(rewrite.prompt, rewrite.subject)
    for hop in hops:
        asks_it = hop.cloze.strip() == cloze or (
            bool(rewrite.question) and hop.question == rewrite.question
        )
        if asks_it and hop.answer == rewrite.target_true.text:
            return hop.answer_alias
    return []


read = Published("MQuAKE", Row, _facts, repeats=True)
