"""MQuAKE-CF and MQuAKE-T (Zhong et al. 2023): chains of hops, with the edits that change their end.

Every edit of a chain is a fact; an edit in several chains is one fact. The hop that an edit changes
has the other spellings of the original answer. The multi-hop questions test an edited model and are
not read.
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
    """One hop of a chain, before the edits."""

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
    """Return the spellings of the original answer from the hop that asks for it, if any."""
    cloze = filled(rewrite.prompt, rewrite.subject)
    for hop in hops:
        same_question = bool(rewrite.question) and hop.question == rewrite.question
        same_cloze = hop.cloze.strip() == cloze
        if (same_cloze or same_question) and hop.answer == rewrite.target_true.text:
            return hop.answer_alias
    return []


read = Published("MQuAKE", Row, _facts)
