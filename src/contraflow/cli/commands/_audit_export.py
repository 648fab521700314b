"""The part of `contraflow export` that reads the folder of an audit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from contraflow.cli.command import ParsedArguments
from contraflow.cli.outputs import check_output
from contraflow.errors import UserError

MAX_REASONS = 20
_FORMAT_OF_SUFFIX = {".jsonl": "edits", ".json": "easyedit", ".csv": "csv"}


def run_audit_export(args: ParsedArguments, source: Path) -> int:
    """Check all arguments, select questions of an audit, write them, print how many."""
    from contraflow.auditing.exporting.formats import FORMATS, export_audit
    from contraflow.auditing.exporting.selection import AuditSelection
    from contraflow.auditing.outcome.finished import read_audit

    out = args.required_path("out")
    name = args.choice("format", FORMATS) if args.text("format") else _format_of(out)
    selection = AuditSelection(
        only=_checks(args.text("only")),
        edited=args.text("edited"),
        per_fact=args.optional_integer("per_fact", 1),
        distinct=args.boolean("distinct"),
    )
    check_output(args, out, "in")
    written = export_audit(read_audit(source), out, name, selection)
    if written.n_rows == 0:
        raise UserError(f"in={source}: there is no edit to evaluate; {written.left_out[0]}")
    unit = "rows" if name == "csv" else "edits with their questions"
    print(f"wrote {written.n_rows} {unit} to {out} ({selection})")
    print_left_out(written.left_out)
    return 0


def print_left_out(reasons: Sequence[str]) -> None:
    """Say on standard error which facts are left out, and why."""
    if reasons:
        print(f"left out {len(reasons)} facts:", file=sys.stderr)
    for reason in reasons[:MAX_REASONS]:
        print(f"  {reason}", file=sys.stderr)
    if len(reasons) > MAX_REASONS:
        print(f"  … and {len(reasons) - MAX_REASONS} more", file=sys.stderr)


def _checks(text: str | None) -> tuple[str, ...]:
    """The checks of `only=`; failing questions where nothing is said."""
    if text is None:
        return ("failing",)
    if text == "all":
        return ()
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _format_of(out: Path) -> str:
    name = _FORMAT_OF_SUFFIX.get(out.suffix.lower())
    if name is None:
        raise UserError(
            f"out={out}: {out.suffix or 'no suffix'} names no format of an audit; end it in .jsonl "
            "(edits), .json (easyedit) or .csv, or give format="
        )
    return name
