"""Files that are read more than once: a pipe is refused in place of being empty the second time."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
import zipfile
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


def _zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("facts.jsonl", ROW)


@pytest.mark.parametrize(
    ("pack", "kind", "remedy"),
    [
        (lambda path: path.write_bytes(gzip.compress(ROW.encode())), "gzip", "gunzip -k"),
        (lambda path: path.write_bytes(bz2.compress(ROW.encode())), "bzip2", "bunzip2 -k"),
        (lambda path: path.write_bytes(lzma.compress(ROW.encode())), "xz", "unxz -k"),
        (_zipped, "zip archive", "save it as CSV, or first unzip"),
    ],
)
def test_a_compressed_file_is_named_with_its_remedy(
    tmp_path: Path, pack: Callable[[Path], object], kind: str, remedy: str
) -> None:
    path = tmp_path / "facts.jsonl"
    pack(path)
    with pytest.raises(UserError, match=f"{kind}.*; .*{remedy}.*facts.jsonl"):
        read_facts(path)


@pytest.mark.parametrize(
    "words",
    [
        ("data", "check", "facts={}"),
        ("data", "convert", "in={}", "out=out.jsonl"),
        ("judge", "pairs={}"),
    ],
)
def test_commands_say_what_a_compressed_file_is(
    contraflow: Call, tmp_path: Path, words: tuple[str, ...]
) -> None:
    path = tmp_path / "zsre.pkl.gz"
    path.write_bytes(gzip.compress(b"x"))
    assert_one_error(
        contraflow(*(word.format(path) for word in words)), "compressed with gzip", "gunzip"
    )
