"""A training step on one GPU, phase by phase, against the straightforward pipeline; and decoding
passes by the number of rows.

    python -m benchmarks.gpu.step --out gpu.json          # one GPU, bf16, some three minutes
    python -m benchmarks.gpu.step --tiny --device cpu     # the same code in seconds: does it run?

Random weights of gpt2-large's and DeBERTa-v3-large's shapes, nothing is downloaded: 8 facts x 8
questions x 25 tokens, every question and answer written to its last token so that the work is
fixed. Three ways in turn, `--repeats` times: the package with static decoding (CUDA graphs on a
GPU, not recorded elsewhere), the package with eager decoding, and `straightforward.py`, whose judge
takes its pairs one by one, and once more in one batch. Printed are medians and ranges, each table
when it is known: seconds, memory, decoding passes, waits of the host, and kernels.

No repeat is started that would end after `--minutes`; `--out` is written after every table, so that
a run that was cut has what it measured.

Bandwidth is what a decoding pass must move (weights once, head rows, keys and values of every row)
over its time, as a share of what a large copy reaches on the same card. `python -m studies.scaling
--measured` reads the file of `--out`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.clock import copy_bandwidth
from benchmarks.gpu.decode_curve import decode_curve
from benchmarks.gpu.measure import (
    EAGER,
    PLAIN,
    STATIC,
    Deadline,
    Step,
    count_syncs,
    measure_steps,
    profile_kernels,
    steps_of,
)
from benchmarks.gpu.pipelines import LARGE, TINY, Ours, Size, both_pipelines, plain_judge
from benchmarks.gpu.tables import curve_row, kernels_table, ratios, steps_table, syncs_table
from benchmarks.straightforward import Straightforward
from benchmarks.work.counter import WorkCounter, watching_judge
from contraflow import default_facts


class Results:
    """What was measured so far; written to a file after every addition."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._found: dict[str, Any] = {}

    def add(self, **found: Any) -> None:
        """Add results and write all of them."""
        self._found |= found
        if self._file is not None:
            self._file.write_text(json.dumps(self._found, indent=1) + "\n")


class Benchmark:
    """The tables, in the order in which they are printed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.repeats: int = args.repeats
        self.deadline = Deadline(args.minutes)
        self.device = torch.device(args.device)
        self.size: Size = TINY if args.tiny else LARGE
        self.dtype = torch.float32 if args.tiny else torch.bfloat16
        self.copy_bytes = 1 << (20 if args.tiny else 30)
        self.results = Results(args.out)
        started = time.monotonic()
        self.ours, self.plain = both_pipelines(self.size, self.device, self.dtype)
        print(f"{environment(self.device)}; models made in {time.monotonic() - started:.0f} s")
        facts = list(default_facts())[: self.size.facts]
        self.steps = steps_of(self.ours, self.plain, facts)
        self.results.add(environment=environment(self.device))

    def run(self) -> None:
        """Measure and print everything that there is time for."""
        self.times()
        self.uncompiled()
        self.curve()
        if self.deadline.left() > 0:
            self.waits()
        if self.deadline.left() > 0:
            self.kernels()
        if self.deadline.left() > 0:
            self.results.add(work=count_work(self.ours, self.steps[EAGER]))
        print(f"{self.deadline.left():.0f} s left")

    def times(self) -> None:
        """Seconds of the phases, their ratios, and memory."""
        size = self.size
        print(
            f"{size.facts} facts x {size.questions} questions x {size.tokens} tokens, "
            f"{self.dtype}, {self.repeats} repeats",
            flush=True,
        )
        found = measure_steps(self.steps, self.device, self.repeats, self.deadline)
        print(f"\n{steps_table(found.seconds)}\n")
        faster = ratios(found.seconds)
        for judge, ratio in faster.items():
            print(f"{ratio:.1f} times the straightforward pipeline with {judge}")
        for way, phases in found.seconds.items():
            print(self._speed_and_memory(way, phases["generate"], found.peaks[way]))
        medians = {
            way: {phase: statistics.median(times) for phase, times in phases.items()}
            for way, phases in found.seconds.items()
        }
        self.results.add(
            phases=medians, seconds=found.seconds, peak_bytes=found.peaks, ratios=faster
        )

    def _speed_and_memory(self, way: str, generate: list[float], peak: int) -> str:
        n_tokens = self.size.facts * self.size.questions * self.size.tokens
        model: Ours | Straightforward = self.plain if way == PLAIN else self.ours
        return (
            f"{way}: {n_tokens / statistics.median(generate):,.0f} question tokens/s; weights "
            f"{model.weight_bytes() / 2**20:,.0f} MiB and at most {peak / 2**20:,.0f} above them"
        )

    def uncompiled(self) -> None:
        """Prior and learning by layers that are not compiled, to see what that is worth."""
        layers = self.ours.policy._tree_layers
        before = layers.compile_failed
        layers.compile_failed = True
        only = {STATIC: self.steps[STATIC]}
        found = measure_steps(only, self.device, min(3, self.repeats), self.deadline)
        layers.compile_failed = before
        if found.seconds:
            ms = {p: 1e3 * statistics.median(found.seconds[STATIC][p]) for p in ("prior", "learn")}
            cells = ", ".join(f"{phase} {value:.1f} ms" for phase, value in ms.items())
            print(f"with uncompiled layers: {cells}", flush=True)
            self.results.add(uncompiled_ms=ms)

    def curve(self) -> None:
        """Decoding passes by the number of rows."""
        card = copy_bandwidth(self.device, self.copy_bytes)
        print(f"\na large copy moves {card / 1e9:,.0f} GB/s\n")
        print("| rows | way | ms a pass | tokens/s | of it |\n" + "|---" * 5 + "|", flush=True)
        curves: dict[str, list[dict[str, float]]] = {STATIC: [], EAGER: []}
        for way, rows in curves.items():
            repeats = min(3, self.repeats)
            for row in decode_curve(
                self.ours.policy, way, self.size.curve, repeats, card, self.deadline
            ):
                rows.append(row)
                print(curve_row(row, way), flush=True)
                self.results.add(copy_bytes_per_s=card, curves=curves)

    def waits(self) -> None:
        """How often the host waits for the device in a step."""
        found = {way: count_syncs(self.steps[way], self.device) for way in (STATIC, EAGER)}
        print(f"\n{syncs_table(found)}", flush=True)
        by_way = {way: dict(counter.by_phase) for way, counter in found.items()}
        self.results.add(waits=by_way)

    def kernels(self) -> None:
        """The longest kernels of each phase."""
        found = profile_kernels(self.steps[STATIC], self.device)
        print(f"\n{kernels_table(found)}", flush=True)
        self.results.add(
            kernels={
                phase: {"n": k.n_calls, "ms": k.total_ms, "longest": k.longest(12)}
                for phase, k in found.items()
            }
        )


def count_work(ours: Ours, eager_step: Step) -> dict[str, Any]:
    """Counted work of an eager step, for `studies/scaling.py`.

    The judge is the plain one: what is replayed cannot be counted.
    """
    recorded = ours.judge
    ours.judge = plain_judge(recorded)
    counter = WorkCounter()
    try:
        with counter.watching(ours.lm), watching_judge(ours.judge, counter):
            eager_step(counter.phase)
    finally:
        ours.judge = recorded
    return {name: asdict(work) for name, work in counter.found.items()}


def environment(device: torch.device) -> str:
    """The card and the versions that the numbers were measured with."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = platform.processor() or "CPU"
    return (
        f"{name}; torch {torch.__version__} (CUDA {torch.version.cuda}), "
        f"transformers {transformers.__version__}, "
        f"Python {platform.python_version()}, {torch.get_num_threads()} threads"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Run the benchmark that the words, or those of the command line, ask for."""
    Benchmark(_arguments(words)).run()


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="two narrow layers, two facts: to see that it runs"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=4.0, help="start nothing that ends later")
    parser.add_argument("--out", type=Path, help="write everything here as JSON")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
