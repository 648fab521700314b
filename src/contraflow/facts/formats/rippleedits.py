"""RippleEdits (Cohen et al. 2024): popular, random and recent edits, with tests of their ripples.

An edit is a sentence with Wikidata ids; subject and answers have no fields of their own. The
subject is extracted by the few phrasings of a relation, and the answers by the difference to the
previous fact. Recent edits are news: they have no previous fact and no original answer. The other
spellings of an answer come from any test that has it as its target.

Relation_Specificity and Forgetfulness ask what the edit must keep; the other tests ask what follows
from it. The queries that select tests by what a model knows (`condition_queries`) are no tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

import msgspec

from contraflow.facts.fact import BadRowError
from contraflow.facts.formats._probes import Group, TestPrompts
from contraflow.facts.formats._published import Published, needed

# Names of relations in sentences, where they differ from the `relation` field.
_PHRASED_AS = {
    "sex or gender": "gender",
    "native language": "mother tongue",
    "capital": "capital city",
    "sibling": "siblings",
    "cast member": "cast members",
}
_PHRASES = (
    r"which (?P<subject>.+?) "
    r"(?:is (?:associated with|a member of|part of|the capital of)|plays in) is",
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
    """The edit, and the fact it replaces, under the name of either version of the benchmark."""

    original_fact: Edited | None = None
    # The name that the benchmark's own code writes.
    previous_fact: Edited | None = None


class Answer(msgspec.Struct, frozen=True):
    """One answer of a test query."""

    value: str = ""
    aliases: list[str] = []


class Query(msgspec.Struct, frozen=True):
    """A test query."""

    prompt: str = ""
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


# All fields but `edit` and `example_type`.
_TEST_FIELDS = Row.__struct_fields__[2:]
_LOCALITY = ("Relation_Specificity", "Forgetfulness")


def _edits(row: Row) -> Iterator[Mapping[str, object]]:
    edit = row.edit
    previous = edit.original_fact or edit.previous_fact
    sentence = needed(edit.prompt, "edit.prompt")
    original_sentence = ""
    if previous is not None:
        original_sentence = needed(previous.prompt, "edit.original_fact.prompt")
    stem = _stem(sentence, original_sentence)
    relation = edit.relation.replace("_", " ").lower()
    original = original_sentence[len(stem) :].strip().rstrip(".")
    edited = sentence[len(stem) :].strip().rstrip(".")
    if not edited or (original_sentence and not original):
        raise BadRowError(
            f"field 'edit.prompt' has no answer in it: {sentence!r}; leave the row out"
        )
    subject = _subject(stem, relation)
    yield {
        "subject": subject,
        "relation": relation,
        "edited_answer": edited,
        "edit_fact": sentence,
        "original_answer": original,
        "original_fact": original_sentence,
        "aliases": [] if previous is None else _aliases(row, previous.target_id, original),
        "prompt": stem.strip(),
        "edited_aliases": _aliases(row, edit.target_id, edited),
        **_tests(row, stem.strip(), subject).fields(),
    }


def _tests(row: Row, stem: str, subject: str) -> TestPrompts:
    tests = TestPrompts()
    for name in _TEST_FIELDS:
        group: Group = "locality" if name in _LOCALITY else "portability"
        for query in (query for test in getattr(row, name) for query in test.test_queries):
            answers = [[answer.value, *answer.aliases] for answer in query.answers]
            tests.add(group, f"{group}/{name}", query.prompt, answers)
    tests.find_subject_aliases(stem, subject)
    return tests


def _stem(sentence: str, original_sentence: str) -> str:
    """Return the sentence up to its answer: the last verb in the prefix shared by both sentences.

    Raises: BadRowError if there is no such verb.
    """
    pairs = zip(sentence, original_sentence or sentence, strict=False)
    shared = "".join(char for char, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    ends = [match.end() for match in _ENDS_OF_STEM.finditer(shared)]
    if not ends:
        difference = f" and {original_sentence!r} do not begin alike" if original_sentence else ""
        raise BadRowError(
            f"field 'edit.prompt' is phrased in a new way: {sentence!r}{difference}"
            "; convert it to a table with columns subject and edit_fact"
        )
    return sentence[: ends[-1]]


def _subject(stem: str, relation: str) -> str:
    """Extract the subject from the stem. Raises: BadRowError if no known phrasing matches."""
    stem = stem.strip()
    words = re.escape(_PHRASED_AS.get(relation, relation))
    for pattern in (rf" {words} of (?P<subject>.+) (?:is|are)", *_PHRASES):
        match = re.search(pattern + "$", stem)
        if match is not None:
            return match["subject"]
    raise BadRowError(
        f"field 'edit.prompt' is phrased in a new way for relation {relation!r}, "
        f"so that its subject cannot be found: {stem!r}; "
        "convert it to a table with columns subject and edit_fact"
    )


def _aliases(row: Row, target_id: str, known: str) -> list[str]:
    """Return the other spellings of an answer, from the first query with that target."""
    if not target_id:
        return []
    for query in _queries(row):
        if query.target_ids == [target_id] and query.answers:
            answer = query.answers[0]
            spellings = dict.fromkeys([answer.value, *answer.aliases])
            return [text for text in spellings if text and text != known]
    return []


def _queries(row: Row) -> Iterator[Query]:
    for name in _TEST_FIELDS:
        for test in getattr(row, name):
            yield from test.test_queries
            yield from test.condition_queries


read = Published("RippleEdits", Row, _edits)
