"""The Python of the README runs as written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contraflow.models.weights.packaged import is_prepared

README = Path(__file__).parents[2] / "README.md"


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_readme_shows_python() -> None:
    assert len(python_blocks()) == 1
    this_file = Path(__file__).relative_to(README.parent)
    assert f"<!-- run by {this_file} -->\n```python" in README.read_text()


@pytest.mark.slow
@pytest.mark.skipif(
    not is_prepared("smollm2-135m-instruct"), reason="packaged models are not prepared"
)
def test_readme_python_runs_and_prints_four_questions(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(python_blocks()[0], str(README), "exec"), {})
    lines = [line for line in capsys.readouterr().out.splitlines() if "->" in line]
    assert len(lines) == 4
