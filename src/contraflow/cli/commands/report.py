"""`contraflow report`: write the report of a run again."""

from __future__ import annotations

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.preflight import check_out_file
from contraflow.errors import UserError

_RUN_FILES = ("run.json", "history.jsonl", "config.yaml")


def run(args: ParsedArguments) -> int:
    """Write `report.html` and print its path."""
    folder = args.required_path("run")
    if not any((folder / name).is_file() for name in _RUN_FILES):
        reason = "not a run folder" if folder.is_dir() else "no such run folder"
        raise UserError(
            f"run={folder}: {reason}; give a folder that `contraflow train` has written"
        )
    check_out_file("run", folder / "report.html")

    from contraflow.evaluation.report import write_report

    print(write_report(folder))
    return 0


COMMAND = Command(
    name="report",
    summary="write the report of a run again",
    description="""
    Reads the files in a run's folder and writes FOLDER/report.html: one file with curves, metrics
    before and after training, and a table of sampled questions. Works on a run that is in progress
    or was stopped, and names what is missing.
    """,
    examples=("contraflow report run=runs/quickstart",),
    run=run,
    arguments=(Argument("run", "FOLDER", "a folder that `contraflow train` wrote", required=True),),
)
