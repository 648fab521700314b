"""Which facts are edited: held-out ones that the unedited model knows, each with its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.facts.known import known_facts, plain_question
from contraflow.system.files import write_atomically
from contraflow.system.progress import bar
from contraflow.types import Oracle
from examples.edits.phrasings import PHRASINGS, own_prompt, paraphrases

_ASKED_AT_ONCE = 32


@dataclass(frozen=True)
class Case:
    """One edit: after `prompt` the model shall say the fact's edited answer."""

    fact: Fact
    prompt: str
    paraphrases: tuple[str, ...]

    @classmethod
    def of(cls, fact: Fact) -> Case:
        """The case of a fact whose relation has phrasings."""
        return cls(fact, own_prompt(fact), paraphrases(fact))

    @property
    def target(self) -> str:
        return self.fact.edited_answer

    @property
    def question(self) -> str:
        """The fact's own question, or one made from its original statement."""
        return plain_question(self.fact)


def candidates(facts: Sequence[Fact], source: str) -> list[Fact]:
    """The facts that an editor can edit; `source` is where they are from, for the error.

    No two have one subject: a second edit of a subject would undo a part of the first.

    Raises: UserError when there is none.
    """
    first_of: dict[str, Fact] = {}
    for fact in facts:
        if fact.relation in PHRASINGS and fact.original_answer and fact.edited_answer:
            first_of.setdefault(fact.subject.casefold(), fact)
    if not first_of:
        known = ", ".join(sorted(PHRASINGS))
        raise UserError(
            f"{source}: no fact has both answers and a relation that has phrasings; "
            f"these have: {known}"
        )
    return list(first_of.values())


def known_cases(facts: Sequence[Fact], n: int, oracle: Oracle) -> list[Case]:
    """The first n facts that the oracle knows, of as many relations as possible.

    Raises: UserError when it knows fewer.
    """
    order = _by_turns(facts)
    known: list[Fact] = []
    with bar("facts that the model knows", n) as progress:
        for start in range(0, len(order), _ASKED_AT_ONCE):
            found = known_facts(order[start : start + _ASKED_AT_ONCE], oracle)[: n - len(known)]
            known += found
            progress.advance(len(found))
            if len(known) == n:
                return [Case.of(fact) for fact in known]
    raise UserError(f"n={n}: the model knows {len(known)} of {len(order)} facts; lower n")


def _by_turns(facts: Sequence[Fact]) -> list[Fact]:
    """One fact of every relation, then the second of each, and so on."""
    turn: dict[str, int] = {}
    keyed: list[tuple[int, int]] = []
    for position, fact in enumerate(facts):
        turn[fact.relation] = turn.get(fact.relation, -1) + 1
        keyed.append((turn[fact.relation], position))
    return [facts[position] for _, position in sorted(keyed)]


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """Write a facts file with two more keys, `prompt` and `paraphrases`, which an audit reads."""
    rows = []
    for case in cases:
        row = msgspec.to_builtins(case.fact)
        rows.append({**row, "prompt": case.prompt, "paraphrases": list(case.paraphrases)})
    write_atomically(path, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
