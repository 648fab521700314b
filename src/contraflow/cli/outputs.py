"""Outputs that would replace an input of the command, or what a run or an audit keeps."""

from __future__ import annotations

from pathlib import Path

from contraflow.cli.command import ParsedArguments
from contraflow.cli.preflight import check_out_file
from contraflow.errors import UserError
from contraflow.system.same_file import is_same_file
from contraflow.system.writable import check_out_folder


def check_output(args: ParsedArguments, out: Path, *inputs: str) -> None:
    """Check that a file can be written and replaces nothing that is read or kept.

    Args:
        inputs: the arguments that name files which the command reads.
    Raises: UserError naming both files and the remedy.
    """
    _check_inputs(args, out, out, inputs)
    _check_kept(out, out)
    check_out_file("out", out)


def check_data_set(args: ParsedArguments, out: Path, *inputs: str) -> None:
    """The same for the folder of a data set, which may be one of an earlier export.

    Raises: UserError naming the file that would be replaced.
    """
    from contraflow.export.hub import CARD, ROWS, is_data_set

    if out.is_file():
        raise UserError(f"out={out}: is a file; format=datasets writes a folder")
    for name in (CARD, ROWS):
        _check_inputs(args, out, out / name, inputs)
        _check_kept(out, out / name)
        if (out / name).exists() and not is_data_set(out):
            raise UserError(
                f"out={out}: has a {name} that is no export's, and it would be replaced; choose "
                "another folder with out="
            )
    check_out_folder("out", out)


def _check_inputs(args: ParsedArguments, out: Path, file: Path, inputs: tuple[str, ...]) -> None:
    """``file`` is `out`, or a file in it."""
    for key in inputs:
        path = args.path(key)
        if path is not None and is_same_file(file, path):
            raise UserError(
                f"out={out}: would replace {key}={path}, which is read; choose another file "
                "with out="
            )


def _check_kept(out: Path, file: Path) -> None:
    if not file.exists():
        return
    from contraflow.auditing.outcome.finished import is_part_of_audit
    from contraflow.run.own_files import is_part_of_run

    kept = "an audit" if is_part_of_audit(file) else "a run" if is_part_of_run(file) else ""
    if kept:
        raise UserError(
            f"out={out}: would replace {file.name} of {kept} in {file.parent}; choose another "
            "place with out="
        )
