"""Files that are read more than once: a pipe is refused in place of being empty the second time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contraflow.errors import UserError
from contraflow.facts import read_facts
from contraflow.system.input_file import require_file
from support.cli import Result, assert_one_error

Call = Callable[..., Result]
ROW = '{"subject": "Hamlet", "edit_fact": "Hamlet was written by Christopher Marlowe."}\n'


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe that somebody writes a fact into."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    threading.Thread(target=lambda: path.write_text(ROW), daemon=True).start()
    return path


@pytest.mark.parametrize(
    "words",
    [
        ("data", "check", "facts={}"),
        ("data", "convert", "in={}", "out=out.jsonl", "format=jsonl"),
        ("data", "filter-known", "facts={}", "out=out.jsonl"),
        ("train", "data.facts={}", "trainer.n_steps=1"),
        ("audit", "run=shipped", "edited=packaged", "control=packaged", "edits={}", "out=a"),
    ],
)
def test_a_pipe_is_refused_with_what_to_do(
    contraflow: Call, pipe: Path, words: tuple[str, ...]
) -> None:
    result = contraflow(*(word.format(pipe) for word in words))
    assert_one_error(result, f"{pipe}: is a pipe or a device", "save it to a file first")


def test_a_missing_file_and_a_folder_say_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.jsonl: no such facts file; check the path"):
        read_facts(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="is a folder; name a file in it"):
        read_facts(tmp_path)
    with pytest.raises(UserError, match=r"in=.*: cannot be read"):
        require_file(tmp_path / ("x" * 300), key="in")
