"""Which questions are kept and which are sampled: pure functions that the stores share.

Every list here holds one fact's entries, best first: ordered by (-priority, id). `lua.ADMIT`
repeats `admit` on the server, where it must be atomic; the contract tests check that both give the
same outcome.
"""

from __future__ import annotations

import math
import random
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from contraflow.replay.base import ReplayEntry
from contraflow.replay.vectors import near_vectors
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion


def near(a: Sequence[int], b: Sequence[int], threshold: float) -> bool:
    """Whether the token edit distance of a and b, over the longer length, is below the threshold.

    The first tests are lower bounds of the distance: most pairs never reach the quadratic part.
    """
    if threshold <= 0:  # no distance is below it
        return False
    longest = max(len(a), len(b))
    if longest == 0:
        return True
    common = (Counter(a) & Counter(b)).total()
    if (longest - common) / longest >= threshold:
        return False
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous = row
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x != y)))
        if min(row) / longest >= threshold:
            return False
    return row[-1] / longest < threshold


def admit(entries: list[ReplayEntry], new: ReplayEntry, settings: ReplayConfig) -> bool:
    """Admit or refuse one question and update the list in place; True if it was admitted.

    Duplicates (same id, or near-duplicates by tokens or meaning) are compared first: the better one
    stays, the stored one on a tie. Only a question without a duplicate has to beat the worst entry
    when the fact is full.
    """
    duplicates = [old for old in entries if _is_duplicate(old, new, settings)]
    if any(old.priority >= new.priority for old in duplicates):
        return False
    is_full = len(entries) >= settings.capacity_per_fact
    if not duplicates and is_full and entries[-1].priority >= new.priority:
        return False
    for old in duplicates:
        entries.remove(old)
    insort(entries, new, key=lambda entry: entry.sort_key)
    del entries[settings.capacity_per_fact :]
    return True


def _is_duplicate(old: ReplayEntry, new: ReplayEntry, settings: ReplayConfig) -> bool:
    if old.entry_id == new.entry_id:
        return True
    if settings.near_duplicate <= 0:  # only the identical question is a duplicate
        return False
    if settings.near_duplicate_by == "embedding":
        return near_vectors(old.vector, new.vector, settings.near_duplicate)
    return near(old.scored.question_ids, new.scored.question_ids, settings.near_duplicate)


def draw_for_facts(
    facts: Sequence[str],
    n: int,
    rng: random.Random,
    settings: ReplayConfig,
    contents: Callable[[str], Sequence[ReplayEntry]],
) -> list[list[ScoredQuestion]]:
    """Draw up to n entries for each position of ``facts``.

    A fact named k times gets k·n distinct entries, split over its positions. Each distinct fact has
    its own generator, seeded by one draw of the caller's. So the entries of one fact change neither
    the draws of the next fact nor the caller's later draws.
    """
    if n < 0:
        raise ValueError(f"n={n}: cannot draw a negative number of questions")
    drawn: dict[str, Iterator[ReplayEntry]] = {}
    for fact, k in Counter(facts).items():
        fact_rng = random.Random(rng.getrandbits(64))
        drawn[fact] = iter(draw(contents(fact), n * k, fact_rng, settings))
    return [[entry.scored for entry in islice(drawn[fact], n)] for fact in facts]


def draw(
    entries: Sequence[ReplayEntry], n: int, rng: random.Random, settings: ReplayConfig
) -> list[ReplayEntry]:
    """Up to n distinct entries of a list that is ordered best first."""
    n = min(n, len(entries))
    if settings.sampling == "reward":
        return _by_reward(entries, n, rng, settings.sampling_temp)
    return _SAMPLERS[settings.sampling](entries, n, rng)


def _uniform(entries: Sequence[ReplayEntry], n: int, rng: random.Random) -> list[ReplayEntry]:
    return rng.sample(entries, n)


def _by_rank(entries: Sequence[ReplayEntry], n: int, rng: random.Random) -> list[ReplayEntry]:
    # From m remaining entries take position floor(m·u²): P(position < k) = sqrt(k / m), so the best
    # quarter of the list gets half of the draws.
    remaining = list(entries)
    return [remaining.pop(int(len(remaining) * rng.random() ** 2)) for _ in range(n)]


def _by_reward(
    entries: Sequence[ReplayEntry], n: int, rng: random.Random, temperature: float
) -> list[ReplayEntry]:
    # Gumbel top-n: sampling without replacement in proportion to exp(priority / temperature),
    # without overflow. 5e-324, the least positive number, stands for a random number of 0.
    keys = [
        entry.priority / temperature - math.log(-math.log(rng.random() or 5e-324))
        for entry in entries
    ]
    ranked = sorted(range(len(entries)), key=lambda i: -keys[i])
    return [entries[i] for i in ranked[:n]]


def _newest(entries: Sequence[ReplayEntry], n: int, _: random.Random) -> list[ReplayEntry]:
    return sorted(entries, key=lambda entry: -entry.scored.step)[:n]


_SAMPLERS: dict[str, Callable[[Sequence[ReplayEntry], int, random.Random], list[ReplayEntry]]] = {
    "uniform": _uniform,
    "rank": _by_rank,
    "newest": _newest,
}
