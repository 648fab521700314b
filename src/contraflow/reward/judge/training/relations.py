"""Relations with many surface forms; their variety lets the judge generalize to new relations.

A relation file holds hand-written relations and two kinds of formulaic ones:
`%attr SUBJECT OBJECT FAMILY | noun; noun` (the NOUN of S is O) and
`%verb SUBJECT OBJECT FAMILY | past:participle:agent,agent` (O PAST S; S was PARTICIPLE by O).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from contraflow.errors import UserError
from contraflow.reward.judge.training.names import Names
from contraflow.reward.judge.training.rng import stable_int

HELD_OUT_ONE_IN = 8  # one relation in eight is for validation
_ATTR_FORMS = (
    "The A of S is O.",
    "S's A is O.",
    "O is the A of S.",
    "O is S's A.",
    "O serves as the A of S.",
    "It is O that is the A of S.",
    "S has O as its A.",
    "As for S, the A is O.",
    "The A of S was O.",
    "O was the A of S.",
)
_ATTR_DENIALS = ("The A of S is not O.", "O is not the A of S.")
_VERB_FORMS = (
    "S was PART by O.",
    "O PAST S.",
    "It was O who PAST S.",
    "The one who PAST S was O.",
    "O is the one who PAST S.",
    "S had been PART by O.",
)
_AGENT_FORMS = ("The N of S was O.", "O was the N of S.", "S's N was O.")
_VERB_DENIALS = ("S was not PART by O.", "It was not O who PAST S.")


@dataclass(frozen=True)
class Relation:
    """One relation: `S` and `O` stand for subject and object in every form.

    `triples` holds real pairs for ParaRel. It is empty for synthetic relations, whose names are
    drawn by type.
    """

    name: str
    subject: str
    object: str
    family: str
    one_to_one: bool
    forms: tuple[str, ...]
    denials: tuple[str, ...]
    triples: tuple[tuple[str, str], ...] = ()
    reserved: bool = False

    @property
    def held_out(self) -> bool:
        """Whether training never sees this relation: chosen by its name, for ParaRel by hand."""
        if self.triples:
            return self.reserved
        return stable_int("relation", self.name) % HELD_OUT_ONE_IN == 0


def load_relations(files: Iterable[Path], names: Names) -> list[Relation]:
    """All relations of the files.

    Raises: UserError where a relation uses a type that has no name list.
    """
    relations = [relation for file in files for relation in _read(file)]
    for relation in relations:
        for kind in (relation.subject, relation.object):
            if kind not in names:
                raise UserError(
                    f"relation {relation.name}: no name list @{kind}; add one to names.txt"
                )
    return relations


def load_trivia(file: Path, split: str) -> dict[str, tuple[str, ...]]:
    """Remarks by type of subject, divided between the splits by their text."""
    remarks: dict[str, tuple[str, ...]] = {}
    for block in re.split(r"\n(?=@)", file.read_text(encoding="utf-8"))[1:]:
        kind, *lines = block.strip().splitlines()
        chosen = []
        for line in lines:
            is_held_out = stable_int("trivia", line) % 6 == 0
            if is_held_out == (split == "validation"):
                chosen.append(line)
        if chosen:
            remarks[kind[1:]] = tuple(chosen)
    return remarks


def fill(form: str, subject: str, object_: str) -> str:
    """The sentence of a form, with corrected articles and a capital first letter."""
    text = re.sub(r"\b([SO])\b", lambda slot: subject if slot[1] == "S" else object_, form)
    text = mend_articles(text)
    text = re.sub(r"\b([Tt]he) (the|an?) ", r"\1 ", text, flags=re.IGNORECASE)
    return text[:1].upper() + text[1:]


def mend_articles(text: str) -> str:
    """`a owl` becomes `an owl`; `a union` and `a one-eyed king` stay."""
    return re.sub(r"\b([Aa]) (?=[aeiouAEIOU](?!ne\b|uro|ni))", r"\1n ", text)


def _read(file: Path) -> Iterable[Relation]:
    for block in re.split(r"\n(?=[@%])", "\n" + file.read_text(encoding="utf-8"))[1:]:
        lines = []
        for line in block.splitlines():
            if line.strip() and not line.startswith("#"):
                lines.append(line.strip())
        if block.startswith("@"):
            yield _hand_written(lines)
        else:
            yield from _formulaic(lines[0])


def _hand_written(lines: list[str]) -> Relation:
    name, subject, object_, family, *flags = lines[0][1:].split()
    forms = tuple(line for line in lines[1:] if not line.startswith("!"))
    denials = tuple(line[1:].strip() for line in lines[1:] if line.startswith("!"))
    return Relation(name, subject, object_, family, "one2one" in flags, forms, denials)


def _formulaic(line: str) -> Iterable[Relation]:
    """One relation per item of a `%attr` or `%verb` line."""
    head, _, items = line.partition("|")
    kind, subject, object_, family = head.split()
    build = _attribute if kind == "%attr" else _verb
    for item in items.split(";"):
        forms, denials = build(item.strip())
        name = f"{subject}.{item.strip().split(':')[0]}"
        yield Relation(name, subject, object_, family, False, forms, denials)


def _attribute(noun: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    def put(forms: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(re.sub(r"\bA\b(?= of| is|\.)", noun, form) for form in forms)

    return put(_ATTR_FORMS), put(_ATTR_DENIALS)


def _verb(item: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    past, participle, agents = (part.strip() for part in item.split(":"))

    def put(form: str) -> str:
        return form.replace("PAST", past).replace("PART", participle)

    nouns = [agent for agent in agents.split(",") if agent]
    agent_forms = [re.sub(r"\bN\b", noun, form) for noun in nouns for form in _AGENT_FORMS]
    return (*map(put, _VERB_FORMS), *agent_forms), tuple(map(put, _VERB_DENIALS))
