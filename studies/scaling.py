"""Where a step's time goes on 4, 8 and 64 GPUs, by scheme: the tables and the picture of
docs/scaling.md.

    python scripts/scaling.py                        # an H100 by its data sheet, and guesses at what is reached of it
    python scripts/scaling.py --decode-us 1.5        # decoding passes replayed as CUDA graphs
    python benchmarks/gpu.py --out gpu.json && python scripts/scaling.py --measured gpu.json

Work is counted (`benchmarks/work.json`, made by `benchmarks/work.py`); seconds are a roofline of it
(`scaling_model.py`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from scaling_model import (
    MODELS,
    PHASES,
    Card,
    Model,
    Step,
    calibration,
    part,
    replay_traffic,
    shape_of,
    steps,
)
from scaling_picture import picture

ROOT = Path(__file__).resolve().parents[1]
REPLAY_SHARE = 0.25  # exploration.use_buffer_prob
CAPACITY = 32  # replay.capacity_per_fact


def main() -> None:
    given = _arguments()
    card = Card(**{f.name: getattr(given, f.name) for f in fields(Card)})
    counted = json.loads(given.work.read_text())
    factors: Mapping[str, float] = {}
    if given.measured:
        work = counted["settings"][MODELS[0].setting] | {"kernels": counted["kernels"]}
        measured = json.loads(given.measured.read_text())
        way = "eager" if card.decode_us is None else "static"
        factors = calibration(
            {"phases": measured["phases"][way], "work": measured["work"]}, work, card
        )
        told = ", ".join(f"{phase} {factor:.2f}" for phase, factor in factors.items())
        print(f"measured over predicted, applied to both models: {told}\n")
    panels = []
    for model in MODELS:
        work = counted["settings"][model.setting] | {"kernels": counted["kernels"]}
        print(f"## {model.shape.name}\n\n{parts_table(model, work, card, factors)}\n")
        rows = [s for n in given.gpus for s in steps(model, work, card, n, given.at_once, factors)]
        print(f"{steps_table(rows)}\n\n{traffic_table(rows, work)}\n")
        panels.append((model.shape.name, rows))
    if given.svg:
        given.svg.write_text(picture(panels))


def parts_table(
    model: Model, work: Mapping[str, Any], card: Card, factors: Mapping[str, float]
) -> str:
    """One batch on one GPU: what each phase takes, and what bounds it."""
    lines = [
        "| phase | passes | tokens | host ms | memory ms | arithmetic ms | takes ms | bound by |\n"
        + "|---" * 8
        + "|"
    ]
    for phase in PHASES:
        p = part(phase, shape_of(phase, model), work, card)
        tokens = sum(
            work["phases"].get(f"{phase}.{leg}", {}).get("tokens", 0) for leg in ("read", "decode")
        )
        ms = [
            1e3 * x for x in (p.host, p.memory, p.arithmetic, factors.get(phase, 1.0) * p.seconds)
        ]
        numbers = " | ".join(f"{x:.1f}" for x in ms)
        lines.append(f"| {phase} | {p.passes:.0f} | {tokens:.0f} | {numbers} | {p.bound_by} |")
    return "\n".join(lines)


def steps_table(rows: Sequence[Step]) -> str:
    """What an update waits for, by scheme."""
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
    lines = ["| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|"]
    for s in rows:
        cells = [f"{1e3 * s.waits[p]:.0f}" if p in s.waits else "" for p in phases]
        name = s.scheme + (f" ({s.actors} of {s.gpus})" if s.actors else "")
        cells = [
            str(s.gpus),
            name,
            *cells,
            f"{1e3 * s.seconds:.0f}",
            f"{s.questions_a_second:,.0f}",
        ]
        cells += [f"{s.idle:.0%}", f"{s.redundant:.0%}", f"{s.behind:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def traffic_table(rows: Sequence[Step], work: Mapping[str, Any]) -> str:
    """What the replay server sees."""
    lines = [
        "| GPUs | scheme | to admit, questions/s | in, MB/s | out, MB/s |\n" + "|---" * 5 + "|"
    ]
    for s in rows:
        t = replay_traffic(s, work, REPLAY_SHARE, CAPACITY)
        lines.append(
            f"| {s.gpus} | {s.scheme} | {t.questions:,.0f} | {t.bytes_in / 1e6:.2f} | {t.bytes_out / 1e6:.1f} |"
        )
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=ROOT / "benchmarks" / "work.json")
    parser.add_argument("--measured", type=Path, help="what benchmarks/gpu.py --out wrote")
    parser.add_argument("--svg", type=Path, help="draw the picture here")
    parser.add_argument("--gpus", type=int, nargs="+", default=[4, 8, 64])
    parser.add_argument(
        "--at-once", type=float, default=8, help="batches drawn at once, to compare with one"
    )
    for f in fields(Card):
        parser.add_argument(
            f"--{f.name.replace('_', '-')}", type=float, default=f.default, help="of the card"
        )
    return parser.parse_args()


if __name__ == "__main__":
    main()
