"""The values of arguments, as commands read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contraflow.cli.command import ParsedArguments


@pytest.mark.parametrize(
    ("given", "there", "expected"),
    [
        ("a,b", (), ("a", "b")),
        (" a , b ,", (), ("a", "b")),
        ("my,edit", (), ("my", "edit")),
        ("my,edit", ("my,edit",), ("my,edit",)),
        ("a,my, edit,b", ("my, edit", "my"), ("a", "my, edit", "b")),
        ("a,,b,c", ("a,,b",), ("a,,b", "c")),
        ("", (), ()),
    ],
)
def test_a_file_with_a_comma_in_its_name_is_one_value(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    there: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in there:
        Path(name).mkdir()
    assert ParsedArguments({"edited": given}).sources("edited") == expected
