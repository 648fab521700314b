"""A file of lines that are expensive to make: each is kept from the moment it is written.

The lines go to FILE.part, which becomes FILE once all are there. After a stop or a kill FILE is as
it was, and FILE.part has the lines so far. The next start leaves it alone and takes another name;
once FILE is complete, parts that it begins with are removed.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from contraflow.system.destinations import file_behind, is_stream, open_stream, write_all
from contraflow.system.files import refuse_unusable, take_rights, write_error

_BLOCK_BYTES = 1 << 20


class LineFile:
    """Lines on their way to a file without a buffer; `count` is the number of whole ones."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.count = 0
        self.size = 0  # of the whole lines, in bytes
        self.is_cut = False  # whether a part of a line follows them
        self._file = file
        self._path = path

    def write(self, line: bytes) -> None:
        """Write one line and its line break.

        Raises: UserError if it cannot be written.
        """
        try:
            write_all(self._file, line + b"\n")
        except OSError as error:
            self.is_cut = True
            raise write_error(self._path, error) from None
        self.count += 1
        self.size += len(line) + 1


@contextmanager
def line_file(path: Path) -> Iterator[LineFile]:
    """Open FILE.part, which replaces `path` at the end of the block; a stream takes the lines.

    If the block fails, a note on its exception says where the lines are (`cli.failures` prints
    notes), and a file without a line is removed. Links are followed as in `files.whole_file`.

    Raises: UserError if the file cannot be written.
    """
    if is_stream(path):
        with _explained(path):
            stream = open_stream(path, 0)
        with stream:
            yield LineFile(stream, path)
        return
    with _explained(path):
        target = file_behind(path)
        refuse_unusable(target)
        file = _open_part(target)
    part = Path(file.name)
    lines = LineFile(file, part)
    try:
        with file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            take_rights(file, target)
            yield lines
            with _explained(part):
                os.fsync(file.fileno())
        with _explained(path):
            part.replace(target)
        _remove_parts_of(target)
    except BaseException as error:
        _keep(lines, part, error)
        raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raises: UserError for an OSError of the block."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from None


def _open_part(target: Path) -> IO[bytes]:
    """Create FILE.part, or FILE.part2, … where a run that stopped has left one."""
    number = 1
    while True:
        name = f"{target.name}.part{'' if number == 1 else number}"
        try:
            return target.with_name(name).open("xb", buffering=0)
        except FileExistsError:
            number += 1


def _remove_parts_of(target: Path) -> None:
    """Remove parts of stopped runs whose whole content the finished file begins with."""
    name = re.compile(re.escape(target.name) + r"\.part\d*")
    for part in [path for path in target.parent.iterdir() if name.fullmatch(path.name)]:
        with suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its process may still run
            if _begins_with(target, file):
                part.unlink()


def _begins_with(target: Path, part: IO[bytes]) -> bool:
    with target.open("rb") as whole:
        while block := part.read(_BLOCK_BYTES):
            if whole.read(len(block)) != block:
                return False
    return True


def _keep(lines: LineFile, part: Path, error: BaseException) -> None:
    """Leave whole lines, and say where they are."""
    if lines.is_cut:
        with suppress(OSError):
            os.truncate(part, lines.size)
    if lines.count == 0:
        part.unlink(missing_ok=True)
        return
    kept = "1 line is" if lines.count == 1 else f"{lines.count} lines are"
    error.add_note(f"{kept} kept in {part}")
