"""Where a command's lines go."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from contraflow.system.files import whole_file


@contextmanager
def sink(out: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that gets its name only when it is complete."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(out) as file:
        yield file
