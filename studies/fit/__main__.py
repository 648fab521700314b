"""The command line of the fit study; see the package's docstring."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from contraflow.errors import UserError
from contraflow.system.files import write_atomically
from studies import fit
from studies.fit.plan import Plan, check_settings, planned_runs, read_plan
from studies.fit.results import DONE, Results, row_of
from studies.fit.runner import Place, run_plan
from studies.fit.table import write_table


def main(words: list[str] | None = None) -> int:
    args = _parser().parse_args(words)
    try:
        return int(args.act(args))
    except UserError as error:
        print(f"studies.fit: error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="studies.fit",
        description=fit.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    acts = parser.add_subparsers(required=True)
    run = acts.add_parser("run", help="make the runs of a plan that are not done")
    run.add_argument("--plan", type=Path, required=True)
    run.add_argument("--out", type=Path, required=True)
    run.add_argument("--workers", type=int, default=1, help="runs at the same time")
    run.add_argument("--device", default="auto", help="model.device: auto, cpu, cuda, cuda:N")
    run.add_argument("--minutes", type=float, default=1e6, help="stop then; cut runs say so")
    run.add_argument("--only", nargs="*", help="names of settings; all by default")
    run.add_argument("--seeds", nargs="*", type=int, help="in place of the plan's seeds")
    run.add_argument("--set", nargs="*", default=[], help="overrides of all runs, after their own")
    _add_runs(run)
    run.set_defaults(act=_run)
    table = acts.add_parser("table", help="gather the run folders anew and write the table")
    table.add_argument("--out", type=Path, required=True)
    _add_runs(table)
    table.set_defaults(act=_table)
    return parser


def _add_runs(parser: argparse.ArgumentParser) -> None:
    what = "where the run folders are, some 100 MB each; OUT/runs by default"
    parser.add_argument("--runs", type=Path, help=what)


def _run(args: argparse.Namespace) -> int:
    deadline = time.monotonic() + 60 * args.minutes
    plan = _chosen(read_plan(args.plan), args)
    runs = list(planned_runs(plan))
    args.out.mkdir(parents=True, exist_ok=True)
    write_atomically(args.out / "plan.json", msgspec.json.format(msgspec.json.encode(plan)))
    folder = (args.runs or args.out / "runs").resolve()
    # A time limit from outside ends the runs as the deadline does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    place = Place(args.out.resolve(), folder, args.device, args.workers, deadline)
    results = run_plan(runs, place)
    print(write_table(args.out, results.rows).read_text())
    missing = [run.name for run in runs if not results.is_done(run)]
    if missing:
        print(f"not done: {', '.join(missing)}; the same command goes on with them")
    return 1 if missing else 0


def _chosen(plan: Plan, args: argparse.Namespace) -> Plan:
    """The plan with the settings, seeds and further overrides of the command line."""
    by_name = {entry.name: entry for entry in plan.runs}
    names = list(by_name) if args.only is None else args.only
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise UserError(f"--only {unknown[0]}: {args.plan} has no such setting")
    chosen = []
    for name in names:
        entry = by_name[name]
        changes: dict[str, Any] = {"overrides": [*entry.overrides, *args.set]}
        if args.seeds:
            changes["seeds"] = args.seeds
        chosen.append(msgspec.structs.replace(entry, **changes))
    if args.set:
        check_settings(args.plan, plan, chosen)
    return msgspec.structs.replace(plan, runs=chosen)


def _table(args: argparse.Namespace) -> int:
    """Rows of runs that are not in `results.json` come from their folders, as cut short."""
    out = args.out.resolve()
    folders = args.runs or out / "runs"
    plan = read_plan(out / "plan.json")
    results = Results.read(out)
    for run in planned_runs(plan):
        folder = folders / run.name
        if folder.is_dir() and not results.is_done(run):
            code = 0 if (folder / "finished").is_file() else None
            results.put(row_of(run, folder, folder.with_name(f"{run.name}.log"), code))
    write_atomically(out / "results.json", results.as_json())
    print(write_table(out, results.rows).read_text())
    return 0 if all(row.status == DONE for row in results.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
