"""The cost of a training step: seconds of each phase and peak memory, by size of step and model.

    python -m benchmarks.cost               # the tables of docs/performance.md, from points.json
    python -m benchmarks.cost --predict facts=6 n=8 length=12 params=135e6
    python -m benchmarks.cost --points mine.json --measure      # on your machine: 20 minutes
    python -m benchmarks.cost --points mine.json --predict facts=6 n=8 length=12 params=135e6

Each point is measured by a process of its own with one thread, on the package's own parts and the
quickstart's settings: a step on one fact to warm up, then two timed ones on other facts. Questions
have exactly the given length and answers too, so that the work is known; 135e6 is the packaged
SmolLM2, other sizes are random models of Llama's shape with its tokenizer. Time is CPU time of the
process: equal to wall time on an idle core, shorter on a shared one. All points are measured twice,
the second time in reverse order.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from benchmarks.cost.law import Law, error, fit, predict
from benchmarks.cost.picture import picture
from benchmarks.cost.points import FITTED, HELD_OUT, PACKAGED, PHASES, Point, Sizes, read_points

MEASURED = Path(__file__).resolve().parent / "points.json"


def points_table(points: Sequence[Point], law: Law) -> str:
    """Medians and ranges of each point, and the relative error of the law."""
    head = [
        "facts",
        "n",
        "length",
        "answer",
        "M parameters",
        *(f"{phase} s" for phase in PHASES),
        "step s (range)",
        "law",
        "peak MiB (range)",
        "law",
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for p in points:
        s = p.sizes
        low, high = p.mib_range
        cells = [
            f"{s.facts}",
            f"{s.n}",
            f"{s.length}",
            f"{s.answer}",
            f"{s.params / 1e6:.0f}",
            *(f"{p.seconds[phase]:.2f}" for phase in PHASES),
            f"{p.step:.2f} ({p.least:.2f} to {p.most:.2f})",
            f"{error(law, p):+.0%}",
            f"{p.mib:,.0f} ({low:,.0f} to {high:,.0f})",
            f"{error(law, p, 'mib'):+.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def law_table(law: Law) -> str:
    """The coefficients by phase; an empty cell where a phase has no such term."""
    names = list(dict.fromkeys(name for terms in law.values() for name in terms))
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for phase, coefficients in law.items():
        cells = [f"{coefficients[name]:.3g}" if name in coefficients else "" for name in names]
        lines.append(f"| {phase} | {' | '.join(cells)} |")
    return "\n".join(lines)


def errors_line(points: Sequence[Point], law: Law) -> str:
    """The median and the largest error of seconds and of memory."""
    parts = []
    for quantity, name in (("step", "seconds"), ("mib", "memory")):
        off = [abs(error(law, p, quantity)) for p in points]
        parts.append(f"{name} off by {statistics.median(off):.0%} (median), {max(off):.0%} at most")
    return "; ".join(parts)


def report(points: Sequence[Point], where: str) -> str:
    """The measurements, the law, and its errors on the fitted points and on the others."""
    fitted = [p for p in points if p.sizes in FITTED]
    held_out = [p for p in points if p.sizes in HELD_OUT]
    law = fit(fitted)
    ratios = [ratio for p in points for ratio in p.of_wall]
    wall = (
        f"Seconds are CPU time; wall time was {statistics.median(ratios):.2f} times as long in the "
        f"median ({min(ratios):.2f} to {max(ratios):.2f}), because the core was shared."
    )
    return "\n\n".join(
        [
            f"{where}. {wall}",
            points_table(fitted, law),
            f"fitted: {errors_line(fitted, law)}",
            law_table(law),
            points_table(held_out, law),
            f"not fitted: {errors_line(held_out, law)}",
        ]
    )


def sizes_of(words: Sequence[str]) -> Sizes:
    """The quickstart's step with KEY=VALUE words applied; SystemExit for a malformed word."""
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
    """The predicted seconds and memory of a step of these sizes."""
    sizes = sizes_of(words)
    found = predict(law, sizes)
    phases = ", ".join(f"{phase} {found[phase]:.1f}" for phase in PHASES)
    return (
        f"{sizes.facts} facts x {sizes.n} questions of {sizes.length} tokens, "
        f"answers of {sizes.answer}, {sizes.params / 1e6:.0f} million parameters:\n"
        f"{found['step']:.1f} seconds a step ({phases}), {found['mib']:,.0f} MiB"
    )


def main() -> None:
    args = _arguments()
    if args.measure:
        from benchmarks.cost.measure import measure_all  # slow to import; predicting needs no model

        measure_all(args.points, args.rounds)
    points, where = read_points(args.points)
    fitted = [p for p in points if p.sizes in FITTED]
    law = fit(fitted)
    if args.predict:
        print(prediction(law, args.predict))
        return
    print(report(points, where))
    if args.svg:
        args.svg.write_text(picture(fitted, law))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--points", type=Path, default=MEASURED, help="the file of measurements")
    parser.add_argument(
        "--measure", action="store_true", help="measure what --points lacks, and add it there"
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
