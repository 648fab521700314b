"""ParaRel triples and patterns as relations: real names, real objects.

Only relations where a second object contradicts the first are used. Borders, twin cities,
memberships, parts, genres and instruments are left out, since two objects can both be true there.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

from contraflow.errors import UserError
from contraflow.reward.judge.training.relations import Relation

# Relation id -> subject type, object type, family (families as in the hand-written relations).
FUNCTIONAL = {
    "P19": ("person", "city", "birthplace"),
    "P20": ("person", "city", "deathplace"),
    "P27": ("person", "country", "nationality"),
    "P106": ("person", "profession", "profession"),
    "P108": ("person", "company", "employer"),
    "P413": ("person", "position", "position"),
    "P1412": ("person", "language", "tongue"),
    "P140": ("person", "religion", "religion"),
    "P101": ("person", "field", "fieldwork"),
    "P127": ("company", "company", "owner"),
    "P159": ("company", "city", "hq"),
    "P740": ("band", "city", "formed"),
    "P178": ("product", "company", "maker"),
    "P364": ("work", "language", "wlang"),
    "P407": ("work", "language", "wlang"),
    "P449": ("work", "channel", "channel"),
    "P1376": ("city", "country", "capital"),
    "P37": ("country", "language", "officiallang"),
    "P17": ("city", "country", "incountry"),
    "P131": ("city", "state", "instate"),
    "P276": ("building", "city", "bcity"),
    "P30": ("mountain", "continent", "continent"),
    "P138": ("street", "person", "namedafter"),
}
HELD_OUT = {"P449", "P30", "P740", "P27", "P140"}
# Name lists that ParaRel provides for the synthetic relations: list -> (relation, side), where the
# side is 0 for subjects and 1 for objects.
_LISTS = {
    "pr_person": (("P19", 0), ("P20", 0), ("P106", 0)),
    "pr_city": (("P740", 1), ("P1376", 0), ("P937", 1)),
    "pr_work": (("P364", 0), ("P407", 0), ("P449", 0)),
    "pr_company": (("P159", 0), ("P127", 0)),
    "pr_product": (("P178", 0),),
}
# Not a sentence: an apposition, a bare noun phrase, or a list of examples.
_FRAGMENT = re.compile(
    r"^[a-z]|\], |\] (that|owner|label|debut|player|musicians) "
    r"|^\[Y\] (musicians|artists|recording)"
)
_BAD = re.compile(
    r"such as|including|to debut|-owned|-born|legal term|and its product|language creation|expired|"
    r"is \[Y\] cit"
)
_MENDS = (
    ("works as [Y]", "works as a [Y]"),
    ("plays as [Y]", "plays as a [Y]"),
    ("in [Y] position", "in the [Y] position"),
    ("headquarter of", "headquarters of"),
    ("headquarters of [X] is", "headquarters of [X] are"),
    ("is follower", "is a follower"),
    ("profession is [Y]", "profession is a [Y]"),
)


def load_pararel(folder: Path) -> list[Relation]:
    """The functional relations with their cleaned patterns and triples."""
    forms: dict[str, list[str]] = defaultdict(list)
    for row in _rows(folder / "patterns.jsonl"):
        form = _clean(row["pattern"])
        if form and form not in forms[row["relation"]]:
            forms[row["relation"]].append(form)
    triples = _triples(folder)
    return [
        Relation(
            f"pararel.{pid}",
            *kinds,
            one_to_one=pid == "P1376",
            forms=tuple(forms[pid]),
            denials=(),
            triples=tuple(triples[pid]),
            reserved=pid in HELD_OUT,
        )
        for pid, kinds in FUNCTIONAL.items()
    ]


def name_lists(folder: Path) -> dict[str, list[str]]:
    """Real names for the synthetic relations, by list."""
    triples = _triples(folder)
    lists: dict[str, list[str]] = defaultdict(list)
    for kind, sources in _LISTS.items():
        for pid, side in sources:
            lists[kind] += [pair[side] for pair in triples[pid]]
    return dict(lists)


def _clean(pattern: str) -> str | None:
    """The pattern as a sentence with `S` and `O`; None where it cannot be one."""
    if _FRAGMENT.search(pattern) or _BAD.search(pattern):
        return None
    for wrong, right in _MENDS:
        pattern = pattern.replace(wrong, right)
    pattern = pattern.replace("[X]", "S").replace("[Y]", "O").rstrip(" .") + "."
    return pattern.replace(" an O", " a O")


def _triples(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Subject and object of every triple, by relation id."""
    triples: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in _rows(folder / "triples.jsonl"):
        triples[row["relation"]].append((row["subject"], row["object"]))
    return triples


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        raise UserError(
            f"{file} is missing; pass the folder that holds nli/ and pararel/ with --data"
        )
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]
