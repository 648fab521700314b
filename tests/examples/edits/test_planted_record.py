"""Reading `planted.json`: what is not a record is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from contraflow.errors import UserError
from examples.edits.planted_record import read_record


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"planted\.json: no such record; give the folder"):
        read_record(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", '{"wording": {"kind": "suffix", "phrase": "x"}}'])
def test_another_file_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "planted.json").write_text(content)
    with pytest.raises(
        UserError, match=r"planted\.json: is not what this version planted"
    ) as error:
        read_record(tmp_path)
    assert "\n" not in str(error.value)
