"""From `sys.argv` to an exit code: which command is meant, and what becomes of its failures."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from contraflow import __version__
from contraflow.cli.command import Command, asks_for_help, read_arguments
from contraflow.cli.commands import COMMANDS
from contraflow.cli.failures import tell
from contraflow.cli.help import command_help, family_help, overview
from contraflow.cli.quiet import be_quiet
from contraflow.errors import UserError
from contraflow.settings.keys import suggestion


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never raises.

    0 is success, 1 what a command found wrong (`data check`) or a bug, 2 a mistake that the user
    can mend, 75 `trainer.max_time` is used up, 130 Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has seen enough
        _discard_stdout()
        return 141
    except (Exception, KeyboardInterrupt) as error:
        return tell(error)
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
    command, rest = _find(words)
    if command is None or asks_for_help(rest):
        print(family_help(words[0], COMMANDS) if command is None else command_help(command))
        return 0
    arguments = read_arguments(command, rest)
    be_quiet()
    return command.run(arguments)


def _find(words: list[str]) -> tuple[Command | None, list[str]]:
    """The command that the first word or two name; none where a family (`data`) is asked for as a
    whole.
    """
    first = words[0]
    for command in COMMANDS:
        name = command.name.split()
        if words[: len(name)] == name:
            return command, words[len(name) :]
    family = [
        command.name.split()[1] for command in COMMANDS if command.name.startswith(f"{first} ")
    ]
    if family and (len(words) == 1 or asks_for_help(words[1:])):
        return None, []
    if family:
        raise _unknown(f"{first} {words[1]}", [f"{first} {name}" for name in family])
    raise _unknown(first, list(dict.fromkeys(command.name.split()[0] for command in COMMANDS)))


def _unknown(word: str, names: list[str]) -> UserError:
    return UserError(
        f"unknown command {word!r}{suggestion(word, names)}; the commands are: {', '.join(names)}"
    )


def _discard_stdout() -> None:
    # Otherwise the interpreter tries to flush once more on exit and prints an error of its own.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
