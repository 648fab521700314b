"""Locality and two-hop probes, made from facts: what an edit must keep, and what follows from it.

The facts are those that no edit changes (`unedited`), for example the packaged ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from contraflow.facts.edit import Edit, Probe
from contraflow.facts.fact import Fact
from contraflow.facts.two_hop import two_hop
from contraflow.text.folding import caseless
from contraflow.text.match import same_answer

__all__ = ["same_relation", "same_subject", "two_hop", "unedited", "unrelated", "with_neighbors"]

# An edit of one relation changes what is true of the others in its group, so they are not asked.
_ENTANGLED = (
    {"birth_country_of_person", "birth_city_of_person", "nationality_of_person"},
    {"city_of_landmark", "country_of_landmark"},
    {"country_of_city", "state_of_us_city"},
    {"symbol_of_element", "atomic_number_of_element"},
)


def same_subject(edit: Edit, facts: Iterable[Fact]) -> tuple[Probe, ...]:
    """Return the plain questions of other facts about the edit's subject, with their answers.

    Facts of the same or an entangled relation, and those with one of the edit's answers, are left
    out: the edit may change them.
    """
    names = {caseless(name) for name in (edit.fact.subject, *edit.subject_aliases)}
    kept = (
        fact
        for fact in facts
        if caseless(fact.subject) in names and not _is_changed(fact, edit.fact)
    )
    return _probes("locality/same_subject", kept)


def same_relation(edit: Edit, facts: Iterable[Fact], n: int) -> tuple[Probe, ...]:
    """Return the plain questions of `n` facts of the edit's relation about other subjects.

    Half of them have the edit's original answer, if there are so many, since an edit spreads to
    these most easily. The choice is by hash, the same in every process. Facts with the edited
    answer are left out, because a spreading edit would not show there.
    """
    related = [fact for fact in facts if fact.relation and fact.relation == edit.fact.relation]
    others = _elsewhere(edit, related)
    alike = [
        fact for fact in others if same_answer(fact.original_answer, edit.fact.original_answer)
    ]
    chosen = alike[: (n + 1) // 2]
    chosen += [fact for fact in others if fact not in alike][: n - len(chosen)]
    chosen += alike[(n + 1) // 2 :][: n - len(chosen)]
    return _probes("locality/same_relation", chosen)


def unrelated(edit: Edit, facts: Iterable[Fact], n: int) -> tuple[Probe, ...]:
    """Return the plain questions of `n` facts of other relations about other subjects, by hash."""
    others = [fact for fact in _elsewhere(edit, facts) if fact.relation != edit.fact.relation]
    return _probes("locality/unrelated", others[:n])


def unedited(facts: Iterable[Fact], edits: Sequence[Edit]) -> list[Fact]:
    """Return the facts that no edit changes: other subjects, or other matters of a subject."""
    by_subject: dict[str, list[Fact]] = {}
    for edit in edits:
        for name in {caseless(edit.fact.subject), *map(caseless, edit.subject_aliases)}:
            by_subject.setdefault(name, []).append(edit.fact)
    return [
        fact
        for fact in facts
        if not any(
            _is_changed(fact, edited) for edited in by_subject.get(caseless(fact.subject), ())
        )
    ]


def with_neighbors(edits: Sequence[Edit], facts: Iterable[Fact], n: int) -> tuple[Edit, ...]:
    """Return the edits with all these probes as well.

    n: number of facts of the same relation, or unrelated ones where the relation has none.
    """
    kept = unedited(facts, edits)
    chains = two_hop(edits, kept)
    return tuple(
        edit.joined(
            msgspec.structs.replace(
                edit,
                locality=(
                    *same_subject(edit, kept),
                    *(same_relation(edit, kept, n) or unrelated(edit, kept, n)),
                ),
                portability=chains.get(edit.fact.fact_id, ()),
            )
        )
        for edit in edits
    )


def _is_changed(fact: Fact, edited: Fact) -> bool:
    """Whether an edit may change a fact of the same subject.

    Any of them, where nothing says which one it changes: its relation may have another name.
    """
    if not edited.original_answer:
        return True
    related = [group for group in _ENTANGLED if edited.relation in group]
    return (
        fact.fact_id == edited.fact_id
        or (bool(fact.relation) and fact.relation == edited.relation)
        or any(fact.relation in group for group in related)
        or same_answer(fact.original_answer, edited.original_answer)
        or same_answer(fact.original_answer, edited.edited_answer)
    )


def _elsewhere(edit: Edit, facts: Iterable[Fact]) -> list[Fact]:
    """Return the facts about other subjects that can be asked, in an order given by hashes."""
    names = {caseless(name) for name in (edit.fact.subject, *edit.subject_aliases)}
    others = [
        fact
        for fact in facts
        if caseless(fact.subject) not in names
        and fact.question
        and fact.original_answer
        and not same_answer(fact.original_answer, edit.fact.edited_answer)
    ]
    return sorted(others, key=lambda fact: _hash(edit.fact.fact_id, fact.fact_id))


def _probes(kind: str, facts: Iterable[Fact]) -> tuple[Probe, ...]:
    return tuple(
        Probe(
            kind=kind,
            prompt=fact.question,
            answers=tuple(dict.fromkeys((fact.original_answer, *fact.aliases))),
        )
        for fact in facts
        if fact.question and fact.original_answer
    )


def _hash(edit_id: str, fact_id: str) -> bytes:
    return hashlib.blake2b(f"{edit_id}\0{fact_id}".encode(), digest_size=8).digest()
