"""Train, validation and test facts: a split that is the same on every machine.

It decides what a sampler may be trained on. When facts come or go, no subject moves between train,
validation and test; which relations are held out depends on all facts.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from contraflow.facts.fact import Fact
from contraflow.text.folding import caseless

# Probability that an eligible relation is held out.
HELD_OUT_RELATION_SHARE = 0.12
# Upper limit for files with few relations, which could lose most of their facts.
MAX_HELD_OUT_FACT_SHARE = 0.3
VALIDATION_SHARE = 0.1
TEST_SHARE = 0.1


class Splits(NamedTuple):
    """Four disjoint parts of one set of facts; no subject is in two of them."""

    train: tuple[Fact, ...]
    validation: tuple[Fact, ...]
    test: tuple[Fact, ...]
    test_relations: tuple[Fact, ...]  # whole relations that no other part contains


def split_facts(facts: Iterable[Fact]) -> Splits:
    """Split by a hash of the subject, after whole relations have been held out.

    Spellings of a subject in other case, or in composed and decomposed letters, are one subject.
    The split depends neither on the order of the facts nor on the process. Adding or removing a
    fact moves no other subject between train, validation and test. It can move whole relations into
    or out of the held-out ones: by a subject that gets a second relation, or by the sizes.
    """
    facts = list(facts)
    held_out = held_out_relations(facts)
    parts: dict[str, list[Fact]] = {name: [] for name in Splits._fields}
    for fact in facts:
        part = "test_relations" if fact.relation in held_out else _part_of(fact.subject)
        parts[part].append(fact)
    return Splits(**{name: tuple(members) for name, members in parts.items()})


def held_out_relations(facts: Sequence[Fact]) -> frozenset[str]:
    """Return the relations of the relation-disjoint test set.

    A relation is eligible if it has a name and none of its subjects has a fact under another
    relation; otherwise that subject or that relation would also be seen in training. Eligible
    relations with a hash below `HELD_OUT_RELATION_SHARE` are held out in the order of their hashes,
    as long as together they have at most `MAX_HELD_OUT_FACT_SHARE` of the facts.
    """
    relations_of: defaultdict[str, set[str]] = defaultdict(set)
    for fact in facts:
        relations_of[caseless(fact.subject)].add(fact.relation)
    shared: set[str] = set()
    for relations in relations_of.values():
        if len(relations) > 1:
            shared |= relations
    sizes = Counter(fact.relation for fact in facts)
    eligible = sizes.keys() - shared - {""}
    hashes = {relation: _unit_hash("relation", relation) for relation in eligible}
    held_out: set[str] = set()
    room = MAX_HELD_OUT_FACT_SHARE * len(facts)
    for relation in sorted(hashes, key=hashes.__getitem__):
        if hashes[relation] < HELD_OUT_RELATION_SHARE and sizes[relation] <= room:
            held_out.add(relation)
            room -= sizes[relation]
    return frozenset(held_out)


def _part_of(subject: str) -> str:
    point = _unit_hash("subject", caseless(subject))
    if point < TEST_SHARE:
        return "test"
    return "validation" if point < TEST_SHARE + VALIDATION_SHARE else "train"


def _unit_hash(kind: str, text: str) -> float:
    """Hash to a number in [0, 1) that depends only on the strings."""
    digest = hashlib.blake2b(f"{kind}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
