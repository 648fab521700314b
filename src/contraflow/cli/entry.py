"""From `sys.argv` to an exit code: find the command, run it, report its failures."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from contraflow import __version__
from contraflow.cli.command import Command, ParsedArguments, asks_for_help, parse_arguments
from contraflow.cli.commands import COMMANDS
from contraflow.cli.failures import report_failure
from contraflow.cli.help import command_help, family_help, overview
from contraflow.cli.verbosity import silence_libraries
from contraflow.errors import UserError
from contraflow.facts.locate import FactError, at_line
from contraflow.settings.keys import suggestion

_BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; never raises.

    0: success. 1: a command found problems (`data check`, a run of a sweep without a result), or a
    bug. 2: an error that the user can fix. 3: `audit fail_over=` without an estimate. 75:
    `trainer.max_time` is used up. 130: Ctrl-C. 141: the reader of a pipe has closed it.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        return _BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        return report_failure(error)
    return code


def _run(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if words[:1] in (["--version"], ["-V"]):
        print(f"contraflow {__version__}")
        return 0
    if not words or asks_for_help(words[:1]):
        print(overview(COMMANDS))
        return 0
    command, rest = _find_command(words)
    if command is None:
        print(family_help(words[0], COMMANDS))
        return 0
    if asks_for_help(rest):
        print(command_help(command))
        return 0
    arguments = parse_arguments(command, rest)
    silence_libraries()
    try:
        return command.run(arguments)
    except FactError as error:
        raise at_line(error, _facts_file(arguments)) from None


def _facts_file(arguments: ParsedArguments) -> str | None:
    """The file that `facts=` or `data.facts=` names, the last of several; None for no file."""
    file = arguments.text("facts")
    for override in arguments.overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+") == "data.facts":
            file = value.strip("'\" ")
    return None if file is None else str(Path(file).expanduser())


def _find_command(words: list[str]) -> tuple[Command | None, list[str]]:
    """The command that the first one or two words name, and the remaining words.

    None stands for a family (`data`) as a whole, whose help is then shown. Raises: UserError.
    """
    first = words[0]
    for command in COMMANDS:
        name = command.name.split()
        if words[: len(name)] == name:
            return command, words[len(name) :]
    family = [command.name for command in COMMANDS if command.name.startswith(f"{first} ")]
    if family and (len(words) == 1 or asks_for_help(words[1:])):
        return None, []
    if family:
        raise _unknown_command(f"{first} {words[1]}", family)
    first_words = dict.fromkeys(command.name.split()[0] for command in COMMANDS)
    raise _unknown_command(first, list(first_words))


def _unknown_command(word: str, names: list[str]) -> UserError:
    return UserError(
        f"unknown command {word!r}{suggestion(word, names)}; the commands are: {', '.join(names)}"
    )


def _discard_stdout() -> None:
    # Otherwise the interpreter flushes once more on exit and prints an error of its own.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
