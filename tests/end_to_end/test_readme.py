"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contraflow.models.packaged import is_prepared

README = Path(__file__).parents[2] / "README.md"


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_readme_shows_python() -> None:
    assert len(python_blocks()) == 1


@pytest.mark.slow
@pytest.mark.skipif(
    not is_prepared("smollm2-135m-instruct"), reason="packaged models are not prepared"
)
def test_readme_python_runs_and_prints_four_questions(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(python_blocks()[0], str(README), "exec"), {})
    lines = [line for line in capsys.readouterr().out.splitlines() if "->" in line]
    assert len(lines) == 4


def test_every_command_line_in_the_readme_names_a_real_command() -> None:
    from contraflow.cli.commands import COMMANDS

    known = {command.name for command in COMMANDS}
    shell = "\n".join(re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL))
    second = "convert|check|filter-known|list|download|seed|stats|clear"
    used = re.findall(rf"^contraflow ([a-z-]+(?: (?:{second}))?)", shell, re.M)
    assert used
    assert [command for command in used if command not in known] == []
