"""The Triton kernels by themselves on one GPU: which launch is the fastest, and is each one right?

    python -m benchmarks.gpu.kernels_alone --out kernels.json      # one GPU, bf16, half a minute
    python -m benchmarks.gpu.kernels_alone --only attention --limit 120
    TRITON_INTERPRET=1 python -m benchmarks.gpu.kernels_alone --tiny     # a CPU with Triton

Attention (`triton_attention.py`): every plan at gpt2-large's shapes, in a CUDA graph over the
buffers of 36 layers, so that no keys are in a cache; microseconds a layer, the best of three.
Two `index_copy_` alone are timed beside them; the plans include that work. Results and buffers are
compared with products in float64, called once and from within the graph. The package uses the
plans marked `default`; `beside` (Hopper and later) and `within` are to be had here only.

Keys (`triton_keys.py`): loading the prompts' keys into the blocks of a step, by operations of
PyTorch and by the kernel with so many words a program; the bits must be equal.

A row is printed when it is known, and none is started after `--limit` seconds. With `--tiny`
Triton's interpreter runs small shapes in float16 (it multiplies bfloat16 as integers): that shows
whether this file works, and its times mean nothing. Exits with 1 if something was wrong, or if a
default did not run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.gpu.attention_alone import Attention, Row, Shape, Where, name_of, plans_of
from benchmarks.gpu.keys_alone import Keys, KeysShape
from benchmarks.gpu.measure import Deadline


@dataclass(frozen=True)
class Size:
    """What is run."""

    where: Where
    attention: tuple[Shape, ...]
    keys: KeysShape
    words: tuple[int, ...]  # that a program of the gather copies; the default first


# The first two share their compiled kernels, and so do the next two. The last has fewer key heads.
LARGE = Size(
    Where(torch.device("cuda"), torch.bfloat16, layers=36, repeats=20),
    attention=(
        Shape(64, 20, 20, 64, 64, 36, 0),
        Shape(512, 20, 20, 64, 64, 36, 0),
        Shape(64, 20, 20, 64, 96, 77, 150),
        Shape(8, 20, 20, 64, 96, 77, 150),
        Shape(64, 32, 8, 64, 96, 77, 150),
    ),
    keys=KeysShape(14, 300, 20, 64, 64, 56, 96),
    words=(1024, 512, 2048, 4096),
)
TINY = Size(
    Where(torch.device("cpu"), torch.float16, layers=2, repeats=1),
    attention=(Shape(3, 2, 2, 16, 32, 17, 0), Shape(3, 2, 1, 16, 32, 17, 20)),
    keys=KeysShape(3, 20, 2, 64, 4, 6, 8),
    words=(1024, 512),
)


@dataclass
class Report:
    """Rows by table; printed and written when they are known."""

    out: Path | None
    tables: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, table: str, row: Row) -> None:
        """Print a row, and write all rows so far."""
        self.tables.setdefault(table, []).append(row)
        print("  " + ", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        if self.out is not None:
            self.out.write_text(json.dumps(self.tables, indent=1) + "\n")

    def fastest(self, table: str, by: str) -> None:
        """Print the plan that takes least time of those that are right."""
        right = [row for row in self.tables.get(table, []) if row.get("right")]
        if right:
            row = min(right, key=lambda row: float(row[by]))
            print(f"  fastest: {row['plan']}, {row[by]} {by}", flush=True)

    @property
    def failed(self) -> bool:
        """Whether something was wrong, or a default did not run."""
        rows = [row for table in self.tables.values() for row in table]
        return any(not row.get("right", not row["default"]) for row in rows)


def measure_attention(size: Size, deadline: Deadline, report: Report) -> None:
    """Time every plan at every shape."""
    for shape in size.attention:
        if not deadline.allows(0.0):
            return
        table = f"attention {asdict(shape)}"
        attention = Attention(size.where, shape)
        print(f"{table}; two index_copy_ take {attention.writing_us():.2f} us a layer", flush=True)
        for number, plan in enumerate(plans_of(shape, few=size is TINY)):
            if not deadline.allows(0.0):
                break
            row = {"plan": name_of(plan, shape), "default": number == 0, **attention.run(plan)}
            report.add(table, row)
        report.fastest(table, "us")


def measure_keys(size: Size, deadline: Deadline, report: Report) -> None:
    """Time the operations, and the kernel with every number of words a program."""
    if not deadline.allows(0.0):
        return
    table = f"keys {asdict(size.keys)}"
    print(table, flush=True)
    keys = Keys(size.where, size.keys)
    report.add(table, {"plan": "operations", "default": False, **keys.by_operations()})
    for number, words in enumerate(size.words):
        if not deadline.allows(0.0):
            break
        row = {"plan": f"kernel, {words} words", "default": number == 0, **keys.by_kernel(words)}
        report.add(table, row)
    report.fastest(table, "ms")


def main(words: Sequence[str] | None = None) -> int:
    """Measure what the words, or those of the command line, ask for; 1 if something was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["attention", "keys"], help="one of the two")
    parser.add_argument("--tiny", action="store_true", help="small shapes, by the interpreter")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds; start nothing later")
    parser.add_argument("--out", type=Path, help="write everything here as JSON")
    args = parser.parse_args(words)
    if find_spec("triton") is None:
        parser.error("Triton is not installed")
    if args.tiny and os.environ.get("TRITON_INTERPRET") != "1":
        parser.error("--tiny needs TRITON_INTERPRET=1 in the environment")
    if not args.tiny and not torch.cuda.is_available():
        parser.error("needs a GPU; --tiny needs none")
    size = TINY if args.tiny else LARGE
    deadline, report = Deadline(args.limit / 60), Report(args.out)
    card = "a CPU, interpreted" if args.tiny else torch.cuda.get_device_name()
    print(f"torch {torch.__version__}, {card}, {size.where.layers} layers", flush=True)
    with torch.inference_mode():
        if args.only != "keys":
            measure_attention(size, deadline, report)
        if args.only != "attention":
            measure_keys(size, deadline, report)
    return int(report.failed)


if __name__ == "__main__":
    sys.exit(main())
