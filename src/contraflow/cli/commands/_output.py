"""The destination of a command's JSON lines: a file or standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from contraflow.cli.command import ParsedArguments
from contraflow.cli.outputs import check_output
from contraflow.system.files import whole_file
from contraflow.system.line_file import LineFile, line_file


def out_file(args: ParsedArguments, *inputs: str) -> Path | None:
    """The file of `out=`, or None for `-`, standard output.

    Args:
        inputs: the arguments that name files which the command reads.
    Raises: UserError if the file cannot be written, or would replace one that is read or kept.
    """
    path = None if args.required("out") == "-" else args.path("out")
    if path is not None:
        check_output(args, path, *inputs)
    return path


class _StandardOutput:
    """Standard output, whose reader gets each line at once."""

    def write(self, line: bytes) -> None:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()


@contextmanager
def open_lines(path: Path | None) -> Iterator[LineFile | _StandardOutput]:
    """Open standard output (None), or a file whose lines are kept where the block fails."""
    if path is None:
        yield _StandardOutput()
        return
    with line_file(path) as lines:
        yield lines


@contextmanager
def open_output(path: Path | None) -> Iterator[IO[bytes]]:
    """Open standard output (None), or a file that gets its name only when it is complete."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(path) as file:
        yield file
