"""The destination of a command's JSON lines: a file or standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from contraflow.cli.command import ParsedArguments
from contraflow.cli.preflight import check_out_file
from contraflow.system.files import whole_file


def out_file(args: ParsedArguments) -> Path | None:
    """The file of `out=`, or None for `-`, standard output.

    Raises: UserError if the file cannot be written.
    """
    path = None if args.required("out") == "-" else args.path("out")
    if path is not None:
        check_out_file("out", path)
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
