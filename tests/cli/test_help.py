"""Help is complete, fast, and made from the tables that arguments are parsed with."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from contraflow import __version__
from contraflow.cli.command import Command
from contraflow.cli.commands import COMMANDS
from contraflow.settings import Config
from contraflow.settings.keys import choices_of, config_keys, group_defaults, group_names
from support.cli import Result, assert_one_error

Call = Callable[..., Result]
NAMES = [command.name for command in COMMANDS]


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_overview_shows_every_command_with_an_example(
    contraflow: Call, words: tuple[str, ...]
) -> None:
    result = contraflow(*words)
    assert result.code == 0
    for command in COMMANDS:
        assert command.name in result.out
        assert command.examples[0] in result.out


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_help_of_a_command_tells_every_argument_and_default(
    contraflow: Call, command: Command
) -> None:
    result = contraflow(*command.name.split(), "--help")
    assert result.code == 0
    flat = " ".join(result.out.split())
    for argument in command.arguments:
        assert argument.name in flat
        assert " ".join(argument.help.split()) in flat
        if argument.required:
            assert "(required)" in flat
        elif argument.default is not None:
            assert f"(default: {argument.default})" in flat
    assert ("--config-dir" in flat) == bool(command.overrides)
    for example in command.examples:
        assert example in result.out


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_examples_in_help_are_read_without_complaint(
    command: Command, tmp_path, monkeypatch
) -> None:
    """Each example parses as a real call; only the folder of `--config-dir` is missing."""
    import shlex

    from contraflow.cli.command import parse_arguments

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_configs" / "experiment").mkdir(parents=True)
    (tmp_path / "my_configs" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nseed: 7\n"
    )
    for example in command.examples:
        words = shlex.split(example)
        assert words[: 1 + len(command.name.split())] == ["contraflow", *command.name.split()]
        args = parse_arguments(command, words[1 + len(command.name.split()) :])
        composed(tuple(args.overrides), args.config_dir)


@cache
def composed(overrides: tuple[str, ...], config_dir: Path | None) -> Config:
    """The config of an example; many examples have no override at all."""
    from contraflow.settings.compose import compose_config

    return compose_config(overrides, config_dir)


def test_a_table_in_a_help_text_stays_a_table(contraflow: Call) -> None:
    """Its lines must not be joined into one paragraph."""
    lines = contraflow("export", "--help").out.splitlines()
    starts = [
        line for line in lines if line.startswith(("  easyedit  ", "  csv  ", "  datasets  "))
    ]
    assert [line.split()[0] for line in starts] == ["easyedit", "csv", "datasets"]
    after = lines[lines.index(starts[0]) + 1]
    assert after.startswith(" " * 13) and not after.startswith(" " * 14), (
        "continued under what it says"
    )


def test_train_help_lists_every_group_and_choice(contraflow: Call) -> None:
    text = contraflow("train", "--help").out
    for group in group_names():
        assert f"  {group}:" in text
        for choice, says in choices_of(group).items():
            assert choice in text
            assert says, f"{group}/{choice}.yaml starts without a comment that describes it"


def test_keys_named_in_the_overrides_of_train_exist() -> None:
    from contraflow.cli.commands.train import _OVERRIDES

    keys = {*config_keys(), *group_defaults()}
    words = [word for row in _OVERRIDES for text in row for word in text.split()]
    named = [word.partition("=")[0] for word in words if "=" in word]
    assert len(named) > len(_OVERRIDES) > 9
    assert set(named) <= keys


def test_a_family_shows_its_commands(contraflow: Call) -> None:
    for words in (("data",), ("data", "--help"), ("help", "data")):
        result = contraflow(*words)
        assert result.code == 0
        assert all(f"data {name}" in result.out for name in ("convert", "check", "filter-known"))
        assert "generate" not in result.out


def test_version(contraflow: Call) -> None:
    assert contraflow("--version").out == f"contraflow {__version__}\n"


def test_a_misspelt_command_is_answered_with_the_right_one(contraflow: Call) -> None:
    assert_one_error(contraflow("trian"), "unknown command 'trian'", "did you mean train?")
    assert_one_error(contraflow("data", "chekc"), "did you mean data check?", "data filter-known")


def test_help_is_instant() -> None:
    """Help takes under half a second of CPU time in a new process: it imports nothing heavy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for words in ([], ["train", "--help"]):
        subprocess.run(
            [sys.executable, "-m", "contraflow.cli", *words], check=True, capture_output=True
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 2 < 0.5


def test_the_installed_console_script_runs() -> None:
    script = os.path.join(os.path.dirname(sys.executable), "contraflow")  # noqa: PTH118, PTH120
    done = subprocess.run([script, "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == f"contraflow {__version__}"


def test_a_reader_that_stops_reading_is_no_error() -> None:
    """`contraflow train --help | head -1` closes the pipe during the write."""
    code = "import sys; from contraflow.cli import main; sys.exit(main(['train', '--help']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
