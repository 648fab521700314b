"""A step's time on 4, 8 and 64 GPUs, by scheme: the tables and the picture of docs/scaling.md.

    python -m studies.scaling                      # an H100 by its data sheet, guessed efficiency
    python -m studies.scaling --decode-us 1.5      # decoding passes replayed as CUDA graphs
    python -m benchmarks.gpu.step --out gpu.json && python -m studies.scaling --measured gpu.json

The work is counted (`benchmarks/work/counts.json`, made by `benchmarks.work.steps`); seconds are a
roofline of it (`roofline.py`), the schemes are in `scaling_model.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from contraflow.errors import UserError
from contraflow.system.files import write_atomically
from studies.roofline import MODELS, PHASES, Card, Model, calibration, part, shape_of
from studies.scaling_files import read_counts, read_measured
from studies.scaling_model import Step, replay_traffic, steps
from studies.scaling_picture import picture

COUNTS = Path(__file__).resolve().parents[1] / "benchmarks" / "work" / "counts.json"
REPLAY_SHARE = 0.25  # exploration.use_buffer_prob
CAPACITY = 32  # replay.capacity_per_fact


def main(words: Sequence[str] | None = None) -> int:
    try:
        _print_all(_arguments(words))
    except UserError as error:
        print(f"studies.scaling: error: {error}", file=sys.stderr)
        return 2
    return 0


def _print_all(args: argparse.Namespace) -> None:
    card = Card(**{f.name: getattr(args, f.name) for f in fields(Card)})
    counted = read_counts(args.work)
    factors: Mapping[str, float] = {}
    if args.measured:
        work = counted["settings"][MODELS[0].setting] | {"kernels": counted["kernels"]}
        way = "eager" if card.decode_us is None else "static"
        seconds = read_measured(args.measured, way, counted)
        factors = calibration(seconds, work, card)
        by_phase = ", ".join(f"{phase} {factor:.2f}" for phase, factor in factors.items())
        print(f"measured over predicted, applied to both models: {by_phase}")
        uncounted = [phase for phase in seconds["phases"] if phase not in factors]
        if uncounted:
            print(f"not corrected, since its work was not counted: {', '.join(uncounted)}")
        print()
    panels = []
    for model in MODELS:
        work = counted["settings"][model.setting] | {"kernels": counted["kernels"]}
        print(f"## {model.shape.name}\n\n{parts_table(model, work, card, factors)}\n")
        rows = []
        for gpus in args.gpus:
            rows += steps(model, work, card, gpus, args.at_once, factors)
        print(f"{steps_table(rows)}\n\n{traffic_table(rows, work)}\n")
        panels.append((model.shape.name, rows))
    if args.svg:
        write_atomically(args.svg, picture(panels).encode())


def parts_table(
    model: Model, work: Mapping[str, Any], card: Card, factors: Mapping[str, float]
) -> str:
    """Table of the phases of one batch on one GPU: work, seconds, and what bounds them."""
    lines = [
        "| phase | passes | tokens | host ms | memory ms | arithmetic ms | takes ms | bound by |",
        "|---" * 8 + "|",
    ]
    for phase in PHASES:
        p = part(phase, shape_of(phase, model), work, card)
        legs = [work["phases"].get(f"{phase}.{leg}", {}) for leg in ("read", "decode")]
        tokens = sum(leg.get("tokens", 0) for leg in legs)
        seconds = (p.host, p.memory, p.arithmetic, factors.get(phase, 1.0) * p.seconds)
        numbers = " | ".join(f"{1e3 * x:.1f}" for x in seconds)
        lines.append(f"| {phase} | {p.passes:.0f} | {tokens:.0f} | {numbers} | {p.bound_by} |")
    return "\n".join(lines)


def steps_table(rows: Sequence[Step]) -> str:
    """Table of the schemes: what an update waits for, and what becomes of the GPUs' time."""
    phases = [*PHASES, "exchange", "waiting for questions"]
    head = [
        "GPUs",
        "scheme",
        *(f"{p} ms" for p in phases),
        "update ms",
        "questions/s",
        "idle",
        "redundant",
        "behind",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for s in rows:
        cells = [
            str(s.gpus),
            s.scheme + (f" ({s.actors} of {s.gpus})" if s.actors else ""),
            *(f"{1e3 * s.waits[p]:.0f}" if p in s.waits else "" for p in phases),
            f"{1e3 * s.seconds:.0f}",
            f"{s.questions_per_second:,.0f}",
            f"{s.idle:.0%}",
            f"{s.redundant:.0%}",
            f"{s.behind:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def traffic_table(rows: Sequence[Step], work: Mapping[str, Any]) -> str:
    """Table of the schemes: the traffic of the replay server."""
    lines = ["| GPUs | scheme | to admit, questions/s | in, MB/s | out, MB/s |", "|---" * 5 + "|"]
    for s in rows:
        t = replay_traffic(s, work, REPLAY_SHARE, CAPACITY)
        lines.append(
            f"| {s.gpus} | {s.scheme} | {t.questions:,.0f} | {t.bytes_in / 1e6:.2f} "
            f"| {t.bytes_out / 1e6:.1f} |"
        )
    return "\n".join(lines)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=COUNTS, help="the file of counts")
    parser.add_argument("--measured", type=Path, help="the file of benchmarks.gpu.step --out")
    parser.add_argument("--svg", type=Path, help="write the picture here")
    parser.add_argument("--gpus", type=int, nargs="+", default=[4, 8, 64])
    parser.add_argument(
        "--at-once", type=float, default=8, help="batches sampled at once, to compare with one"
    )
    for f in fields(Card):
        parser.add_argument(
            f"--{f.name.replace('_', '-')}", type=float, default=f.default, help="of the card"
        )
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
