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


@contextmanager
def open_output(path: Path | None) -> Iterator[IO[bytes]]:
    """Open standard output (None), or a file that gets its name only when it is complete."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(path) as file:
        yield file
