"""RippleEdits (Cohen et al. 2024): popular, random and recent edits, each with the tests of its
ripples.

An edit is a whole sentence with Wikidata ids beside it: subject and answers are named nowhere else.
They are read out of the sentence, which its relation phrases in one of a few ways, and where there
is a previous fact out of the difference of the two. Recent edits have none: they are news, with no
original answer. Other spellings of the original answer are taken from any test that has it as its
target.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

import msgspec

from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._published import Published, needed

_OTHER_WORDS = {  # what a sentence calls a relation where it is not the relation's own name
    "sex or gender": "gender",
    "native language": "mother tongue",
    "capital": "capital city",
    "sibling": "siblings",
    "cast member": "cast members",
}
_PHRASES = (
    r"which (?P<subject>.+?) (?:is (?:associated with|a member of|part of|the capital of)|plays in) is",
    r"The name of the position held by (?P<subject>.+) is",
    r"The number of children (?P<subject>.+) has is",
    r"The name of the award (?P<subject>.+) won is",
    r"The name of the currency in (?P<subject>.+) is",
    r"^(?P<subject>.+) (?:is followed by|follows)",
)
_ENDS_OF_STEM = re.compile(r" (?:is followed by|is|are|follows) ")


class Edited(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fact as a sentence."""

    prompt: str
    relation: str
    subject_id: str = ""
    target_id: str = ""


class Edit(Edited, frozen=True, forbid_unknown_fields=True):
    """The edit, and what it takes the place of."""

    original_fact: Edited | None = None
    previous_fact: Edited | None = None  # the same, as the benchmark's own code writes it


class Answer(msgspec.Struct, frozen=True):
    """One answer of a test query."""

    value: str = ""
    aliases: list[str] = []


class Query(msgspec.Struct, frozen=True):
    """A test query; only what tells spellings is read."""

    answers: list[Answer] = []
    target_ids: Any = None


class Test(msgspec.Struct, frozen=True):
    """A test; only its queries are read."""

    test_queries: list[Query] = []
    condition_queries: list[Query] = []


Tests = list[Test]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry as published."""

    edit: Edit
    example_type: str = ""
    Relation_Specificity: Tests = []
    Logical_Generalization: Tests = []
    Subject_Aliasing: Tests = []
    Compositionality_I: Tests = []
    Compositionality_II: Tests = []
    Forgetfulness: Tests = []


def _facts(row: Row) -> Iterator[Mapping[str, object]]:
    edit, previous = row.edit, row.edit.original_fact or row.edit.previous_fact
    sentence = needed(edit.prompt, "edit.prompt")
    before = "" if previous is None else needed(previous.prompt, "edit.original_fact.prompt")
    stem = _stem(sentence, before)
    relation = edit.relation.replace("_", " ").lower()
    original = before[len(stem) :].strip().rstrip(".")
    edited = sentence[len(stem) :].strip().rstrip(".")
    if not edited or (before and not original):
        raise BadRowError(
            f"field 'edit.prompt' has no answer in it: {sentence!r}; leave the row out"
        )
    yield {
        "subject": _subject(stem, relation),
        "relation": relation,
        "edited_answer": edited,
        "edit_fact": sentence,
        "original_answer": original,
        "original_fact": before,
        "aliases": [] if previous is None else _aliases(row, previous.target_id, original),
    }


def _stem(sentence: str, before: str) -> str:
    """The sentence up to its answer."""
    pairs = zip(sentence, before or sentence, strict=False)
    shared = "".join(ours for ours, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    ends = [match.end() for match in _ENDS_OF_STEM.finditer(shared)]
    if not ends:
        raise BadRowError(
            f"field 'edit.prompt' is phrased in a new way: {sentence!r}"
            + (f" and {before!r} do not begin alike" if before else "")
            + "; convert it to a table with columns subject and edit_fact"
        )
    return sentence[: ends[-1]]


def _subject(stem: str, relation: str) -> str:
    stem = stem.strip()
    words = re.escape(_OTHER_WORDS.get(relation, relation))
    for pattern in (rf" {words} of (?P<subject>.+) (?:is|are)", *_PHRASES):
        match = re.search(pattern + "$", stem)
        if match is not None:
            return match["subject"]
    raise BadRowError(
        f"field 'edit.prompt' is phrased in a new way for relation {relation!r}, so that its subject cannot be "
        f"told: {stem!r}; convert it to a table with columns subject and edit_fact"
    )


def _aliases(row: Row, target_id: str, original: str) -> list[str]:
    tests = [test for name in row.__struct_fields__[2:] for test in getattr(row, name)]
    for query in (q for test in tests for q in [*test.test_queries, *test.condition_queries]):
        if target_id and query.target_ids == [target_id] and query.answers:
            spellings = [query.answers[0].value, *query.answers[0].aliases]
            return [
                spelling
                for spelling in dict.fromkeys(spellings)
                if spelling and spelling != original
            ]
    return []


read = Published("RippleEdits", Row, _facts)
