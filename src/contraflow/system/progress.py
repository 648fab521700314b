"""Progress bars with the remaining time; plain lines where standard error is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class _Deaf:
    """A stream whose reader may be gone: what cannot be written is dropped.

    A run goes on where `tee` or `head` has ended, or its terminal is closed. A `rich` console would
    exit.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Console(Console):
    """A console on whatever standard error is when it prints."""

    @property
    def file(self) -> IO[str]:
        return cast(IO[str], _Deaf(super().file))

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file


console = _Console(stderr=True, highlight=False)
_LINE_EVERY_SECONDS = 15.0


class Bar:
    """Progress of one task; without a `rich` progress it prints a line every 15 seconds."""

    def __init__(self, title: str, total: int, done: int, progress: Progress | None) -> None:
        self.title = title
        self.total = total
        self.done = done
        self._progress = progress
        self._task: TaskID | None = None
        if progress is not None:
            self._task = progress.add_task(title, total=total, completed=done, note="")
        self._started_at = time.monotonic()
        self._done_at_start = done
        self._last_line_at = self._started_at

    def advance(self, n: int = 1, note: str = "") -> None:
        """Add n finished units; `note` replaces the text beside the bar."""
        self.done += n
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=n, note=note)
        elif time.monotonic() - self._last_line_at > _LINE_EVERY_SECONDS:
            self._last_line_at = time.monotonic()
            left = self._time_left()
            console.print(f"{self.title} {self.done}/{self.total}, {left} left  {note}")

    def _time_left(self) -> str:
        """Return the remaining time as minutes:seconds, at the mean rate so far."""
        rate = (self.done - self._done_at_start) / max(1e-9, time.monotonic() - self._started_at)
        seconds = (self.total - self.done) / rate if rate > 0 else 0.0
        return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


@contextmanager
def bar(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """Show a progress bar on standard error while the block runs."""
    if not sys.stderr.isatty():
        yield Bar(title, total, done, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bar(title, total, done, progress)


def print_line(text: str) -> None:
    """Print one line, with `rich` markup, on standard error."""
    console.print(text, soft_wrap=True)


def print_plain(text: str) -> None:
    """Print one line of foreign text on standard error; its brackets are not read as markup."""
    console.print(text, soft_wrap=True, markup=False)
