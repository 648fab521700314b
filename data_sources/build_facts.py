"""Builds the shipped facts from the hand-written tables in `data_sources/facts`.

    python data_sources/build_facts.py       # rewrites src/contraflow/assets/facts.jsonl

A table is a `.tsv` file of one or more relations. A relation is its head, followed by its rows:

    # relation: capital_of_country
    # statement: The capital of {s} is {a}.     one or more; the row's hash chooses
    # question: What is the capital of {s}?     one or more
    # options: surnames                         the last name of a person is an alias too
    # pool: Rome; Madrid                        edited answers, where other rows' are not suitable
    France <tab> Paris <tab> alias; alias <tab> edited answer

Only subject and answer are required. Both are written as in a sentence ("the United Kingdom", "a
mammal"); the fact's `subject` and answers lose the article. A star before the subject ("*the Alps")
makes {is}, {was} and {stands} plural. The edited answer is the answer of another row, chosen by
hash among the first `POPULAR` distinct ones, because tables list the popular first. `spellings.txt`
holds aliases of answers that occur in many tables. The same files give the same bytes on any
machine.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from contraflow.facts import Fact, write_facts
from contraflow.facts.fact import fact_id_for
from contraflow.text.match import gives_away

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "data_sources" / "facts"
SHIPPED = ROOT / "src" / "contraflow" / "assets" / "facts.jsonl"
POPULAR = 40
ARTICLES = ("the ", "a ", "an ")
# Last names that are also everyday words or places: as aliases they would match too much.
COMMON_WORDS = {
    "Bell", "Brown", "Carter", "Frost", "Gates", "Great", "Jackson", "Jobs", "Khan", "King",
    "London", "Page", "Son", "Swift", "Tzu", "Victoria", "Wall", "Washington", "Wells", "White",
    "Wood", "brothers", "I", "II", "III", "VIII", "XIV", "XVI",
}  # fmt: skip
PLURAL_VERBS = {"is": "are", "was": "were", "stands": "stand"}


@dataclass(frozen=True)
class Row:
    """One line of a table; `source` is its file and line number, for error messages."""

    source: str
    subject: str
    answer: str
    aliases: tuple[str, ...]
    edited: str
    plural: bool


@dataclass
class Relation:
    """One relation's templates and rows."""

    name: str
    statements: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    pool: list[str] = field(default_factory=list)
    spellings: dict[str, tuple[str, ...]] = field(default_factory=dict)  # aliases by answer
    rows: list[Row] = field(default_factory=list)


def read_tables(folder: Path) -> list[Relation]:
    """All relations of all tables, in the order of file names and lines."""
    spellings = _read_spellings(folder / "spellings.txt")
    relations: list[Relation] = []
    for path in sorted(folder.glob("*.tsv")):
        relations += _read_table(path)
    for relation in relations:
        relation.spellings = spellings
    return relations


def _read_spellings(path: Path) -> dict[str, tuple[str, ...]]:
    spellings = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            answer, _, aliases = line.partition("\t")
            spellings[answer] = tuple(_listed(aliases))
    return spellings


def _read_table(path: Path) -> Iterator[Relation]:
    relation: Relation | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        source = f"{path.name}:{number}"
        if line.startswith("# relation: "):
            if relation is not None:
                yield relation
            relation = Relation(line.removeprefix("# relation: "))
        elif not line.strip():
            continue
        elif relation is None:
            raise SystemExit(f"{source}: a row before any '# relation:' line")
        elif line.startswith("#"):
            _read_head(relation, line, source)
        else:
            relation.rows.append(_read_row(line, source))
    if relation is not None:
        yield relation


def _read_head(relation: Relation, line: str, source: str) -> None:
    key, _, value = line.removeprefix("# ").partition(": ")
    if key == "statement":
        relation.statements.append(value)
    elif key == "question":
        relation.questions.append(value)
    elif key in ("options", "pool"):
        getattr(relation, key).extend(_listed(value))
    else:
        raise SystemExit(f"{source}: unknown head '{key}'")


def _read_row(line: str, source: str) -> Row:
    cells = [cell.strip() for cell in line.split("\t")]
    if not 2 <= len(cells) <= 4 or not all(cells[:2]):
        raise SystemExit(
            f"{source}: a row is subject, answer, aliases, edited answer with tabs between"
        )
    subject, answer, aliases, edited = cells + [""] * (4 - len(cells))
    plural = subject.startswith("*")
    bare = subject.removeprefix("*")
    return Row(source, bare, answer, tuple(_listed(aliases)), edited, plural)


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(";") if item.strip()]


def build(relations: list[Relation]) -> list[Fact]:
    """Every row of every relation as a fact, in the order of the tables."""
    return [_fact(relation, row) for relation in relations for row in relation.rows]


def _fact(relation: Relation, row: Row) -> Fact:
    edited = row.edited or _edited_answer(relation, row)
    statement = _choose(relation.statements, "statement", relation, row)
    question = _choose(relation.questions, "question", relation, row)
    subject = _bare(row.subject)
    edit_fact = _sentence(statement, row, edited)
    return Fact(
        fact_id=fact_id_for(subject, edit_fact),
        subject=subject,
        relation=relation.name,
        original_answer=_bare(row.answer),
        edited_answer=_bare(edited),
        original_fact=_sentence(statement, row, row.answer),
        edit_fact=edit_fact,
        question=_sentence(question, row, row.answer),
        aliases=_aliases(relation, row),
    )


def _edited_answer(relation: Relation, row: Row) -> str:
    """Another row's answer that overlaps no spelling of this row's and is not in its subject."""
    distinct = list(dict.fromkeys(other.answer for other in relation.rows))
    answers = relation.pool or distinct[:POPULAR]
    spellings = (row.answer, *_aliases(relation, row))
    allowed = []
    for answer in answers:
        if not _overlaps(answer, spellings) and not gives_away(row.subject, answer):
            allowed.append(answer)
    if not allowed:
        raise SystemExit(f"{row.source}: no edited answer is left for '{row.subject}'; give a pool")
    return _choose(allowed, "edited", relation, row)


def _overlaps(answer: str, spellings: tuple[str, ...]) -> bool:
    return any(
        gives_away(answer, spelling) or gives_away(spelling, answer) for spelling in spellings
    )


def _aliases(relation: Relation, row: Row) -> tuple[str, ...]:
    surname = row.answer.split()[-1]
    has_surname = (
        "surnames" in relation.options and " " in row.answer and surname not in COMMON_WORDS
    )
    known = (*row.aliases, *relation.spellings.get(row.answer, ()))
    return tuple(dict.fromkeys([*known, surname] if has_surname else known))


def _choose(choices: list[str], purpose: str, relation: Relation, row: Row) -> str:
    """One of the choices, by a hash of the row: the same on any machine."""
    key = f"{purpose}\0{relation.name}\0{row.subject}"
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return choices[int.from_bytes(digest, "big") % len(choices)]


def _sentence(template: str, row: Row, answer: str) -> str:
    for singular, plural in PLURAL_VERBS.items():
        template = template.replace(f"{{{singular}}}", plural if row.plural else singular)
    text = template.replace("{s}", row.subject).replace("{a}", answer)
    text = text.removesuffix(".") if text.endswith("..") else text
    return text[0].upper() + text[1:]


def _bare(text: str) -> str:
    for article in ARTICLES:
        text = text.removeprefix(article)
    return text


def main() -> None:
    """Write the shipped file and print how many facts each relation has."""
    relations = read_tables(TABLES)
    count = write_facts(SHIPPED, build(relations))
    for relation in relations:
        sys.stdout.write(f"{len(relation.rows):5d} {relation.name}\n")
    sys.stdout.write(
        f"{count:5d} facts of {len(relations)} relations in {SHIPPED.relative_to(ROOT)}\n"
    )


if __name__ == "__main__":
    main()
