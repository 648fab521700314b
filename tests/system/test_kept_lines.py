"""Files that grow line by line: a damaged end is dropped, anything else is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contraflow.errors import UserError
from contraflow.system.kept_lines import holds_lines, kept_lines


class Number(msgspec.Struct):
    n: int


def read(path: Path) -> list[int]:
    lines = kept_lines(path, Number, what="a number", remedy="it will be counted again")
    return [line.n for line in lines]


@pytest.mark.parametrize("tail", [b'{"n": 3', b"\0" * 40, b'{"n": \xff}\n', b"\0\0\n", b"{]\n"])
def test_a_damaged_last_line_is_dropped_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tail: bytes
) -> None:
    """A kill cuts a line; a power failure may leave zeros."""
    path = tmp_path / "kept.jsonl"
    whole = b'{"n": 1}\n{"n": 2}\n'
    path.write_bytes(whole + tail)
    assert read(path) == [1, 2]
    assert path.read_bytes() == whole
    assert "kept.jsonl: its last line was damaged and is dropped; it will be" in (
        capsys.readouterr().err.replace("\n", " ")
    )


@pytest.mark.parametrize("content", [b"", b'{"n": 1}\n', b'{"n": 1}\n\n'])
def test_whole_lines_stay_and_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_bytes(content)
    assert read(path) == [1] * content.count(b"1")
    assert path.read_bytes() == content
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "line"),
    [(b'{"n": 1}\n{]\n{"n": 2}\n', 2), (b'{"m": 1}\n', 1), (b"[" * 5000 + b"\n", 1)],
)
def test_any_other_line_is_refused_by_number(tmp_path: Path, content: bytes, line: int) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"kept\.jsonl:{line}: is not a number .*; delete the"):
        read(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [b"42", b'{"answer": "of somebody else"}', b"a\nb", b'{"m": 1}\n{"n": 2', b'[\n {"n": 1}\n]'],
)
def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    """Also one whose last line has no end, as a cut one of ours."""
    path = tmp_path / "kept.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"kept\.jsonl.*: is not a number"):
        read(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"{", b'{"n', b'{"n": 1', b"\0\0\0"])
def test_a_first_line_that_was_cut_is_dropped(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_bytes(content)
    assert holds_lines(path, "n")
    assert read(path) == []
    assert path.read_bytes() == b""
