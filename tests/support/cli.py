"""Fixtures and checks for the tests of the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FACTS = [
    {
        "subject": "France",
        "edit_fact": "The capital of France is Lyon.",
        "original_fact": "The capital of France is Paris.",
        "original_answer": "Paris",
        "edited_answer": "Lyon",
        "relation": "capital",
        "question": "What is the capital of France?",
    },
    {
        "subject": "Japan",
        "edit_fact": "The capital of Japan is Osaka.",
        "original_fact": "The capital of Japan is Tokyo.",
        "original_answer": "Tokyo",
        "edited_answer": "Osaka",
        "relation": "capital",
        "question": "What is the capital of Japan?",
    },
]


@dataclass(frozen=True)
class Result:
    """Exit code and printed text of one call."""

    code: int
    out: str
    err: str


def assert_one_error(result: Result, *parts: str, code: int = 2) -> None:
    """Assert one line on standard error, nothing on standard output and no traceback."""
    assert result.code == code, result
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("contraflow: error: ")
    assert "Traceback" not in result.err
    for part in parts:
        assert part in lines[0], lines[0]


def put_module(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> ModuleType:
    """Replace a module that would load models; commands import it when they run."""
    module = ModuleType(name)
    for key, value in contents.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def json_lines(text: str) -> list[dict[str, Any]]:
    """Parse JSONL."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def contraflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Run one command in `tmp_path`.

    `capfd` captures file descriptors: generated lines go to the byte stream below stdout.
    """
    from contraflow.cli import main  # this plugin is loaded for every test

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
