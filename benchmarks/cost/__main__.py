"""What a training step costs: seconds of each phase and peak memory, by size of the step and of the
model.

    python benchmarks/cost.py                                    # the tables of docs/performance.md, from cost.json
    python benchmarks/cost.py --predict facts=6 n=8 length=12 params=135e6
    python benchmarks/cost.py --points mine.json --measure       # of your machine, twenty minutes
    python benchmarks/cost.py --points mine.json --predict facts=6 n=8 length=12 params=135e6

A point is a process of its own with one thread, on the package's own parts and the quickstart's
settings: a step on one fact to warm up, then two timed ones on other facts. Questions have exactly
the given length and answers too, so that the work is known; 135e6 is the packaged SmolLM2, other
sizes are random models of Llama's shape with its tokenizer. Time is the process's own: on an idle
core that of the clock on the wall, on a shared one less. All points are measured twice, the second
time in reverse order.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from cost_law import Law, error, fit, predict
from cost_picture import picture
from cost_points import FITTED, HELD_OUT, PACKAGED, PHASES, Point, Sizes, read_points

HERE = Path(__file__).resolve().parent


def points_table(points: Sequence[Point], law: Law) -> str:
    """Medians, ranges, and by how much the law is off."""
    columns = (
        "facts",
        "n",
        "length",
        "answer",
        "M parameters",
        *(f"{phase} s" for phase in PHASES),
    )
    head = [*columns, "step s (range)", "law", "peak MiB (range)", "law"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for p in points:
        s = p.sizes
        phases = " | ".join(f"{p.seconds[phase]:.2f}" for phase in PHASES)
        low, high = p.mib_range
        lines.append(
            f"| {s.facts} | {s.n} | {s.length} | {s.answer} | {s.params / 1e6:.0f} | {phases} "
            f"| {p.step:.2f} ({p.least:.2f} to {p.most:.2f}) | {error(law, p):+.0%} "
            f"| {p.mib:,.0f} ({low:,.0f} to {high:,.0f}) | {error(law, p, 'mib'):+.0%} |"
        )
    return "\n".join(lines)


def law_table(law: Law) -> str:
    """The coefficients; empty where a phase has no such term."""
    names = list(dict.fromkeys(name for terms in law.values() for name in terms))
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for phase, coefficients in law.items():
        cells = [f"{coefficients[name]:.3g}" if name in coefficients else "" for name in names]
        lines.append(f"| {phase} | {' | '.join(cells)} |")
    return "\n".join(lines)


def errors_line(points: Sequence[Point], law: Law) -> str:
    """The largest and the middle error of seconds and of memory."""
    told = []
    for of, name in (("step", "seconds"), ("mib", "memory")):
        off = [abs(error(law, p, of)) for p in points]
        told.append(
            f"{name} off by {statistics.median(off):.0%} in the middle, {max(off):.0%} at most"
        )
    return "; ".join(told)


def report(points: Sequence[Point], where: str) -> str:
    """The measurements, the law, and how far it is off where it was fitted and where it was not."""
    fitted, held_out = ([p for p in points if p.sizes in some] for some in (FITTED, HELD_OUT))
    law = fit(fitted)
    shares = [share for p in points for share in p.of_wall]
    busy = (
        f"By the clock on the wall a step took {statistics.median(shares):.2f} times this in the middle "
        f"({min(shares):.2f} to {max(shares):.2f}): others were on the core at times."
    )
    return "\n\n".join(
        [
            f"{where}. {busy}",
            points_table(fitted, law),
            f"fitted: {errors_line(fitted, law)}",
            law_table(law),
            points_table(held_out, law),
            f"not fitted: {errors_line(held_out, law)}",
        ]
    )


def sizes_of(words: Sequence[str]) -> Sizes:
    """KEY=VALUE words over the quickstart's step; SystemExit for one that is none."""
    usual = Sizes(facts=6, n=8, length=12, params=PACKAGED, answer=12)
    known = {field.name: type(getattr(usual, field.name)) for field in fields(Sizes)}
    given = dict(word.partition("=")[::2] for word in words)
    try:
        return replace(usual, **{key: known[key](value) for key, value in given.items()})
    except (KeyError, ValueError):
        raise SystemExit(
            f"--predict: give {'=N '.join(known)}=N, such as facts=6 params=135e6"
        ) from None


def prediction(law: Law, words: Sequence[str]) -> str:
    """What a step of these sizes takes."""
    sizes = sizes_of(words)
    found = predict(law, sizes)
    phases = ", ".join(f"{phase} {found[phase]:.1f}" for phase in PHASES)
    return (
        f"{sizes.facts} facts x {sizes.n} questions of {sizes.length} tokens, answers of {sizes.answer}, "
        f"{sizes.params / 1e6:.0f} million parameters:\n"
        f"{found['step']:.1f} seconds a step ({phases}), {found['mib']:,.0f} MiB"
    )


def main() -> None:
    args = _arguments()
    if args.measure:
        from cost_measure import measure_all  # slow to import, and predicting needs no model

        measure_all(args.points, args.rounds)
    points, where = read_points(args.points)
    law = fit([p for p in points if p.sizes in FITTED])
    if args.predict:
        print(prediction(law, args.predict))
        return
    print(report(points, where))
    if args.svg:
        args.svg.write_text(picture([p for p in points if p.sizes in FITTED], law))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=Path, default=HERE / "cost.json", help="measurements")
    parser.add_argument(
        "--measure", action="store_true", help="measure what --points has not yet, and add it"
    )
    parser.add_argument(
        "--rounds", type=int, nargs="+", default=[0, 1], help="odd ones are in reverse order"
    )
    parser.add_argument(
        "--predict", nargs="+", metavar="KEY=VALUE", help="facts, n, length, params, answer"
    )
    parser.add_argument("--svg", type=Path, help="write the picture here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
