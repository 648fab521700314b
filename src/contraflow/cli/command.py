"""What a command is, and how its words are read: `key=value`, no quoting rules but the shell's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contraflow.errors import UserError
from contraflow.settings.keys import check_override_key, override_key, suggestion


@dataclass(frozen=True)
class Argument:
    """One key of a command. A name that ends in a dot (`columns.`) stands for all keys that start
    so.
    """

    name: str
    value: str  # what stands for the value in the help: FILE, N
    help: str
    default: str | None = None  # as it is told, and as it is read; None where there is none
    required: bool = False
    flag: bool = False  # `--name` may stand for `name=true`


@dataclass(frozen=True)
class Command:
    """A name, what `--help` says of it, and the function that does it."""

    name: str
    summary: str
    about: str
    examples: tuple[str, ...]
    run: Callable[[Given], int]
    arguments: tuple[Argument, ...] = ()
    positional: str | None = None  # the argument that a bare word (no `=`) gives
    overrides: str = ""  # what settings of the config do here; empty: none are taken
    details: Callable[[], str] | None = None  # more help, worked out when asked for


@dataclass(frozen=True)
class Given:
    """The words of one call, sorted."""

    values: dict[str, str]
    overrides: tuple[str, ...] = ()
    config_dir: Path | None = None
    defaults: dict[str, str | None] = field(default_factory=dict)

    def text(self, key: str) -> str | None:
        """The value or its default; an empty value is as good as none."""
        return self.values.get(key) or self.defaults.get(key)

    def needed(self, key: str) -> str:
        """The value of a required argument (`read_arguments` has seen to it)."""
        return self.text(key) or ""

    def path(self, key: str) -> Path | None:
        """The value as a path, with `~` understood: the shell does not expand it after `=`."""
        text = self.text(key)
        return None if text is None else Path(text).expanduser()

    def integer(self, key: str, minimum: int) -> int:
        """The value as a whole number. Raises: UserError when it is none, or too small."""
        text = self.needed(key)
        try:
            number = int(text)
        except ValueError:
            raise UserError(f"{key}={text}: must be a whole number") from None
        if number < minimum:
            raise UserError(f"{key}={text}: must be at least {minimum}")
        return number

    def positive(self, key: str) -> float:
        """The value as a number above 0. Raises: UserError."""
        text = self.needed(key)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise UserError(f"{key}={text}: must be a number above 0")
        return number

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """The value, if it is one of the choices. Raises: UserError."""
        text = self.needed(key)
        if text not in choices:
            raise UserError(
                f"{key}={text}: must be one of {', '.join(choices)}{suggestion(text, choices)}"
            )
        return text

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """`columns.subject=S` under "columns." is {"subject": "S"}."""
        return {
            key.removeprefix(prefix): v for key, v in self.values.items() if key.startswith(prefix)
        }


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether help is asked for anywhere among the words."""
    return any(word in ("-h", "--help") for word in words)


def read_arguments(command: Command, words: Sequence[str]) -> Given:
    """Sort words into arguments and overrides. Raises: UserError for unknown, double or missing
    ones.
    """
    values: dict[str, str] = {}
    overrides: list[str] = []
    words, config_dir = _take_config_dir(command, words)
    for word in words:
        key, value = _split(command, word)
        if _owns(command, key):
            if key in values:
                raise UserError(f"{key}= is given twice; keep one")
            values[key] = value
        elif command.overrides:
            _check_override(command, word, config_dir)
            overrides.append(word)
        else:
            raise _unknown(command, key)
    for argument in command.arguments:
        if argument.required and not values.get(argument.name):
            example = command.examples[0]
            raise UserError(
                f"{command.name} needs {argument.name}={argument.value}; for example: {example}"
            )
    defaults = {argument.name: argument.default for argument in command.arguments}
    return Given(values, tuple(overrides), config_dir, defaults)


def _take_config_dir(command: Command, words: Sequence[str]) -> tuple[list[str], Path | None]:
    """`--config-dir DIR` or `--config-dir=DIR`: the only option, because it is no setting of a run."""
    rest, folder, pending = [], None, False
    for word in words if command.overrides else ():
        if pending:
            folder, pending = Path(word), False
        elif word == "--config-dir":
            pending = True
        elif word.startswith("--config-dir="):
            folder = Path(word.partition("=")[2])
        else:
            rest.append(word)
    if pending:
        raise UserError("--config-dir needs a folder of your own config groups after it")
    if folder is not None and not folder.expanduser().is_dir():
        raise UserError(
            f"--config-dir {folder}: no such folder; give one with groups such as experiment/ in it"
        )
    return (rest if command.overrides else list(words)), folder and folder.expanduser().resolve()


def _split(command: Command, word: str) -> tuple[str, str]:
    if word.startswith("-") and word != "-":
        bare = word.lstrip("-").partition("=")[0]
        if word == f"--{bare}" and any(a.flag and a.name == bare for a in command.arguments):
            return bare, "true"
        if any(bare == argument.name for argument in command.arguments):
            raise UserError(f"{word}: arguments are written without dashes: {bare}=…")
        raise UserError(f"unknown option {word}; see `contraflow {command.name} --help`")
    key, equals, value = word.partition("=")
    if equals:
        return key, value
    if command.positional is not None:
        return command.positional, word
    return word, ""


def _owns(command: Command, key: str) -> bool:
    names = (argument.name for argument in command.arguments)
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in names)


def _check_override(command: Command, word: str, config_dir: Path | None) -> None:
    own = [argument.name for argument in command.arguments]
    wrong = check_override_key(word, config_dir, also=own)
    if wrong is None:
        return
    remedy = "`contraflow config` shows every key"
    if own:
        remedy = (
            f"{command.name} takes {', '.join(own)} and settings (`contraflow config` shows them)"
        )
    raise UserError(f"{wrong}; {remedy}")


def _unknown(command: Command, key: str) -> UserError:
    names = [f"{a.name}FIELD" if a.name.endswith(".") else a.name for a in command.arguments]
    known = (
        f"{command.name} takes {', '.join(names)}"
        if names
        else f"{command.name} takes no arguments"
    )
    return UserError(f"unknown argument {override_key(key)!r}{suggestion(key, names)}; {known}")
