"""Which questions stay and which are drawn: pure functions, shared by the stores.

Every list here is one fact's entries, best first: ordered by (-priority, id). `lua.ADMIT` repeats
`admit` on the server, where it must be atomic; the contract tests hold the two to the same outcome.
"""

from __future__ import annotations

import math
import random
from bisect import insort
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

from contraflow.replay.base import Stored
from contraflow.replay.vectors import near_vectors
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion


def near(a: Sequence[int], b: Sequence[int], threshold: float) -> bool:
    """Whether the token edit distance of a and b, over the longer length, lies below the threshold.

    The first tests are lower bounds of the distance: most pairs never reach the quadratic part.
    """
    if threshold <= 0:  # nothing is nearer than that
        return False
    longest = max(len(a), len(b))
    if longest == 0:
        return True
    common = (Counter(a) & Counter(b)).total()
    if (longest - common) / longest >= threshold:
        return False
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x != y)))
        if min(row) / longest >= threshold:
            return False
    return row[-1] / longest < threshold


def admit(entries: list[Stored], new: Stored, settings: ReplayConfig) -> bool:
    """Decide on one question and change the list accordingly; True if the question entered.

    Twins (same id, or nearly the same tokens or meaning) are settled first: the better one stays,
    the stored one on a tie. Only a question without a twin has to beat the fact's worst when the
    fact is full.
    """
    compared = (
        settings.near_duplicate > 0
    )  # else only the very same question is a twin, and ids tell it
    twins = [
        old
        for old in entries
        if old.entry_id == new.entry_id or (compared and _near(old, new, settings))
    ]
    if any(old.priority >= new.priority for old in twins):
        return False
    if (
        not twins
        and len(entries) >= settings.capacity_per_fact
        and entries[-1].priority >= new.priority
    ):
        return False
    for old in twins:
        entries.remove(old)
    insort(entries, new, key=lambda stored: stored.order)
    del entries[settings.capacity_per_fact :]
    return True


def _near(old: Stored, new: Stored, settings: ReplayConfig) -> bool:
    if settings.near_duplicate_by == "embedding":
        return near_vectors(old.vector, new.vector, settings.near_duplicate)
    return near(old.entry.question_ids, new.entry.question_ids, settings.near_duplicate)


def deal(
    fact_ids: Sequence[str],
    n: int,
    rng: random.Random,
    settings: ReplayConfig,
    contents: Callable[[str], Sequence[Stored]],
) -> list[list[ScoredQuestion]]:
    """Draw for each fact in turn; a fact named k times gets k·n distinct entries dealt over its
    places.

    Each distinct fact has its own generator, seeded by one draw of the caller's: what one fact
    holds does not shift the draw of the next, nor the caller's later draws.
    """
    if n < 0:
        raise ValueError(f"n={n}: cannot draw a negative number of questions")
    places = Counter(fact_ids)
    drawn = {
        fact_id: iter(draw(contents(fact_id), n * k, random.Random(rng.getrandbits(64)), settings))
        for fact_id, k in places.items()
    }
    return [[stored.entry for stored in islice(drawn[fact_id], n)] for fact_id in fact_ids]


def draw(
    entries: Sequence[Stored], n: int, rng: random.Random, settings: ReplayConfig
) -> list[Stored]:
    """Up to n distinct entries of a list that is ordered best first."""
    n = min(n, len(entries))
    if settings.sampling == "reward":
        return _reward(entries, n, rng, settings.sampling_temp)
    return _DRAWS[settings.sampling](entries, n, rng)


def _uniform(entries: Sequence[Stored], n: int, rng: random.Random) -> list[Stored]:
    return rng.sample(entries, n)


def _rank(entries: Sequence[Stored], n: int, rng: random.Random) -> list[Stored]:
    # Of m left, place floor(m·u²): P(place < k) = sqrt(k / m), so a quarter of the list gets half
    # the draws.
    left = list(entries)
    return [left.pop(int(len(left) * rng.random() ** 2)) for _ in range(n)]


def _reward(
    entries: Sequence[Stored], n: int, rng: random.Random, temperature: float
) -> list[Stored]:
    # Gumbel top-n: draws without replacement in proportion to exp(priority / temperature), with no
    # overflow.
    keys = [
        stored.priority / temperature - math.log(-math.log(rng.random() or 5e-324))
        for stored in entries
    ]
    return [entries[i] for i in sorted(range(len(entries)), key=lambda i: -keys[i])[:n]]


def _newest(entries: Sequence[Stored], n: int, _: random.Random) -> list[Stored]:
    return sorted(entries, key=lambda stored: -stored.entry.step)[:n]


_DRAWS: dict[str, Callable[[Sequence[Stored], int, random.Random], list[Stored]]] = {
    "uniform": _uniform,
    "rank": _rank,
    "newest": _newest,
}
