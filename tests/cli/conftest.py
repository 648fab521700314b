"""`contraflow …` in this process, in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contraflow.cli import main
from support.cli import FACTS, Result


@pytest.fixture
def contraflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Run one command in `tmp_path`; `capfd`, because generated lines go to the byte stream below stdout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONTRAFLOW_DEBUG", raising=False)

    def call(*words: str) -> Result:
        capfd.readouterr()
        code = main(words)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write rows as JSONL (or bytes as they are) and return the path."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in content))
        return path

    return write


@pytest.fixture
def facts_file(write: Callable[[str, Any], Path]) -> Path:
    """Two good facts."""
    return write("facts.jsonl", FACTS)
