"""An audit that was stopped says how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.cli import Result, assert_one_error

Call = Callable[..., Result]


def test_an_audit_that_was_stopped_is_not_called_missing(contraflow: Call, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    folder.mkdir()
    assert_one_error(contraflow("audit", "check", f"out={folder}"), "no such audit")
    (folder / "answers.jsonl").write_text("")
    for words in (("audit", "check", f"out={folder}"), ("export", f"in={folder}", "out=x.csv")):
        result = contraflow(*words)
        if words[0] == "audit":
            assert_one_error(result, "its audit is not finished", "run the same command again")
        else:
            assert result.code == 2
