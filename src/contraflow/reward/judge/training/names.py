"""Names by type, which fill the slots of a sentence.

The pools are large and varied, so that the judge learns to compare names and not to know them.
"""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from contraflow.errors import UserError
from contraflow.reward.judge.training.rng import stable_int

VALIDATION_SHARE = 5  # one name in five is for validation
SMALL_LIST = 40  # shorter lists (months, continents, colors) are not divided between the splits
_SLOT = re.compile(r"\{(\w+)\}")
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = (
    "zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip


def number_word(number: int) -> str:
    """The word for a number from 0 to 99.

    Answers contain both `8` and `eight`, and the judge must treat them as the same.
    """
    if number < len(_UNITS):
        return _UNITS[number]
    tens, unit = divmod(number, 10)
    return _TENS[tens] if unit == 0 else f"{_TENS[tens]}-{_UNITS[unit]}"


def big_number(rng: random.Random) -> str:
    """A quantity of random size, as people write it: 206, 8,848, 300,000, 2.5, 12 million."""
    digits = rng.choice([2, 3, 3, 4, 4, 5, 6])
    number = rng.randint(10 ** (digits - 1), 10**digits - 1)
    if rng.random() < 0.5:  # round to one or two leading digits
        scale = 10 ** max(0, digits - rng.choice([1, 2]))
        number = max(1, number // scale) * scale
    if rng.random() < 0.12:
        return f"{rng.randint(2, 90)} million"
    return f"{rng.randint(1, 99)}.{rng.randint(1, 9)}" if rng.random() < 0.1 else f"{number:,}"


def in_validation(name: str) -> bool:
    """Whether a name belongs to the validation split."""
    return stable_int("name", name.casefold()) % VALIDATION_SHARE == 0


@dataclass(frozen=True)
class Names:
    """The name pools of one split (`train` or `validation`)."""

    leaves: Mapping[str, tuple[str, ...]]
    grammars: Mapping[str, tuple[str, ...]]

    def __contains__(self, kind: str) -> bool:
        return kind in {"year", "bignum"} or kind in self.leaves or kind in self.grammars

    def draw(self, kind: str, rng: random.Random) -> str:
        """One name of a type; composed names are built from the pools of their parts."""
        if kind == "year":
            return str(rng.randint(1400, 2023) if rng.random() < 0.85 else rng.randint(800, 1399))
        if kind == "bignum":
            return big_number(rng)
        if kind in self.leaves:
            return rng.choice(rng.choice(self.leaves[kind]).split("|"))
        return self.expand(rng.choice(self.grammars[kind]), rng)

    def expand(self, pattern: str, rng: random.Random) -> str:
        """The pattern with every `{type}` replaced by a name of that type."""
        return _SLOT.sub(lambda slot: self.draw(slot[1], rng), pattern)

    def draw_opposites(self, kind: str, rng: random.Random) -> list[str]:
        """Two words that exclude each other, from a list with entries `word|opposite`."""
        return rng.sample(rng.choice(self.leaves[kind]).split("|"), 2)

    def draw_other(self, kind: str, taken: Iterable[str], rng: random.Random) -> str:
        """A name that shares no word with `taken`: a shortened name must be unambiguous."""
        banned: set[str] = set()
        for other in taken:
            banned |= content_words(other)
        name = self.draw(kind, rng)
        for _ in range(30):
            if not banned & content_words(name):
                return name
            name = self.draw(kind, rng)
        return name

    def draw_similar(self, kind: str, name: str, rng: random.Random) -> str:
        """Another name that shares words with `name` if the pool has one: a hard negative."""
        candidates = [self.draw(kind, rng) for _ in range(40)]
        others = [other for other in candidates if other.casefold() != name.casefold()]
        words = content_words(name)

        def n_shared(other: str) -> int:
            return len(words & content_words(other))

        return max(others, key=n_shared, default=candidates[0])


def content_words(name: str) -> set[str]:
    """The words of a name without articles, conjunctions and prepositions."""
    return set(re.findall(r"\w+", name.casefold())) - {"the", "of", "a", "and", "in"}


def load_names(file: Path, split: str, extra: Mapping[str, Iterable[str]]) -> Names:
    """The name pools of one split; `extra` adds lists from data (real names of ParaRel).

    Raises: UserError for a list that is empty or given twice.
    """
    leaves: dict[str, tuple[str, ...]] = {}
    grammars: dict[str, tuple[str, ...]] = {}
    for kind, is_grammar, entries in _sections(file):
        if is_grammar:
            grammars[kind] = entries
        else:
            leaves[kind] = _of_split(entries, split)
    for kind, names in extra.items():
        leaves[kind] = _of_split(tuple(sorted(set(names))), split)
    grammars.pop("year", None)
    return Names(leaves, grammars)


def _of_split(entries: tuple[str, ...], split: str) -> tuple[str, ...]:
    if len(entries) < SMALL_LIST:
        return entries
    return tuple(entry for entry in entries if in_validation(entry) == (split == "validation"))


def _sections(file: Path) -> Iterable[tuple[str, bool, tuple[str, ...]]]:
    """Type, whether the entries are grammar patterns, and the entries, of each list of the file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    seen: set[str] = set()
    for block in text.split("@")[1:]:
        head, _, body = block.partition("\n")
        kind = head.split()[0]
        items = body.replace("\n", " ").split(";")
        entries = tuple(item.strip() for item in items if item.strip())
        if kind in seen:
            raise UserError(
                f"{file}: the name list @{head} is given twice; rename or join the lists"
            )
        seen.add(kind)
        if not entries:
            raise UserError(f"{file}: the name list @{head} is empty; add entries separated by ';'")
        yield kind, ":=" in head, entries
