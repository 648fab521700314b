"""Every command that the Makefile runs is one that the program takes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from contraflow.cli.command import Command, parse_arguments
from contraflow.cli.commands import COMMANDS
from examples.edits.__main__ import COMMANDS as EDITORS

ROOT = Path(__file__).parents[2]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def commands_of(target: str) -> list[tuple[Command, list[str]]]:
    """The commands of ours that a target runs, with their words."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        program = re.match(r"\S*bin/(contraflow|python -m examples\.edits) (.*)", line)
        if program is not None:
            words = shlex.split(program[2])
            found.append(_command(words) if program[1] == "contraflow" else _editor(words))
    return found


def _command(words: list[str]) -> tuple[Command, list[str]]:
    by_name = {command.name: command for command in COMMANDS}
    name = " ".join(words[:2]) if " ".join(words[:2]) in by_name else words[0]
    return by_name[name], words[len(name.split()) :]


def _editor(words: list[str]) -> tuple[Command, list[str]]:
    return EDITORS[words[0]], words[1:]


@needs_make
@pytest.mark.parametrize(
    ("target", "n_commands"), [("demo", 2), ("overnight", 2), ("audit", 4), ("audit-full", 5)]
)
def test_every_command_of_a_target_parses(target: str, n_commands: int) -> None:
    found = commands_of(target)
    assert len(found) == n_commands
    for command, words in found:
        parse_arguments(command, words)


@needs_make
@pytest.mark.parametrize("target", ["audit", "audit-full"])
def test_an_audit_reads_what_its_editors_write(target: str) -> None:
    """The edited models and the edits are in the folders that the editors were given."""
    found = commands_of(target)
    folders = [
        dict(word.split("=", 1) for word in words)["out"]
        for command, words in found
        if command.name in EDITORS
    ]
    given = dict(word.split("=", 1) for word in found[-1][1])
    edited = given["edited"].removesuffix("/delta.safetensors").split(",")
    assert [source.removesuffix("/delta.safetensors") for source in edited] == folders
    assert given["names"].split(",") == [Path(folder).name for folder in folders]
    assert Path(given["edits"]).parent == Path(folders[0])
