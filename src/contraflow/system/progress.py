"""Progress bars with the time left, for long work; plain lines where nobody watches a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True, highlight=False)
_LINE_EVERY_SECONDS = 15.0


class Bar:
    """One task: ``advance`` it, and say a few words beside it."""

    def __init__(self, title: str, total: int, done: int, progress: Progress | None) -> None:
        self.title, self.total, self.done, self._progress = title, total, done, progress
        self._started_at, self._done_at_start = time.monotonic(), done
        self._last_line = self._started_at
        self._task = (
            None
            if progress is None
            else progress.add_task(title, total=total, completed=done, note="")
        )

    def advance(self, n: int = 1, note: str = "") -> None:
        """n more are done; the note replaces the last one."""
        self.done += n
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=n, note=note)
        elif time.monotonic() - self._last_line > _LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            console.print(f"{self.title} {self.done}/{self.total}, {self._left()} left  {note}")

    def _left(self) -> str:
        rate = (self.done - self._done_at_start) / max(1e-9, time.monotonic() - self._started_at)
        seconds = (self.total - self.done) / rate if rate > 0 else 0.0
        return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


@contextmanager
def bar(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A progress bar on standard error while the block runs."""
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
    """One line to the person who waits."""
    console.print(text, soft_wrap=True)


def print_plain(text: str) -> None:
    """One line that quotes what somebody else wrote: brackets in it are brackets, not colors."""
    console.print(text, soft_wrap=True, markup=False)
