"""`contraflow report`: the page of a run, written again."""

from __future__ import annotations

from pathlib import Path

from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.early import check_out_file
from contraflow.errors import UserError


def run(given: Given) -> int:
    """Write `report.html` and print where it is."""
    folder = Path(given.needed("run")).expanduser()
    if not any((folder / name).is_file() for name in ("run.json", "history.jsonl", "config.yaml")):
        what = "not a run folder" if folder.is_dir() else "no such run folder"
        raise UserError(f"run={folder}: {what}; give a folder that `contraflow train` has written")
    check_out_file("run", folder / "report.html")

    from contraflow.evaluation.report import write_report

    print(write_report(folder))
    return 0


COMMAND = Command(
    name="report",
    summary="write the report of a run again",
    about="""
    Reads what a run has left in its folder and writes FOLDER/report.html: one file with curves, before
    and after, and a table of sampled questions. Works on a run that is still going or was stopped, and
    says what is missing.
    """,
    examples=("contraflow report run=runs/quickstart",),
    run=run,
    arguments=(Argument("run", "FOLDER", "a folder that `contraflow train` wrote", required=True),),
)
