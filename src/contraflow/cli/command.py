"""The declaration of a command, and the parser of its `key=value` words.

Quoting is left to the shell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contraflow.errors import UserError
from contraflow.settings.keys import check_override_key, override_key, suggestion


@dataclass(frozen=True)
class Argument:
    """One argument of a command.

    A name that ends in a dot (`columns.`) accepts every key with that prefix.
    """

    name: str
    metavar: str  # placeholder of the value in help: FILE, N
    help: str
    default: str | None = None  # parsed like a given value, and shown in help
    required: bool = False
    flag: bool = False  # `--name` is accepted for `name=true`


@dataclass(frozen=True)
class Command:
    """A command: its name, its help, and the function that runs it and returns the exit code."""

    name: str
    summary: str
    description: str
    examples: tuple[str, ...]
    run: Callable[[ParsedArguments], int]
    arguments: tuple[Argument, ...] = ()
    positional: str | None = None  # the argument that a bare word (no `=`) sets
    overrides: str = ""  # help for config overrides; empty if the command takes none
    details: Callable[[], str] | None = None  # further help, computed only when it is shown


@dataclass(frozen=True)
class ParsedArguments:
    """The words of one call, split into arguments and config overrides."""

    values: dict[str, str]
    overrides: tuple[str, ...] = ()
    config_dir: Path | None = None
    defaults: dict[str, str | None] = field(default_factory=dict)

    def text(self, key: str) -> str | None:
        """The value, or its default if it is missing; `parse_arguments` refuses an empty one."""
        return self.values.get(key) or self.defaults.get(key)

    def required(self, key: str) -> str:
        """The value of an argument that is required or has a default.

        `parse_arguments` has already rejected a call without it.
        """
        return self.text(key) or ""

    def path(self, key: str) -> Path | None:
        """The value as a path with `~` expanded: the shell does not expand it after `=`."""
        text = self.text(key)
        return None if text is None else Path(text).expanduser()

    def required_path(self, key: str) -> Path:
        """`required` as a path with `~` expanded. Raises: UserError for `-`."""
        text = self.required(key)
        if text == "-":
            raise UserError(
                f"{key}=-: this command does not use the standard streams; name a file or folder"
            )
        return Path(text).expanduser()

    def integer(self, key: str, minimum: int, maximum: int | None = None) -> int:
        """The value as an integer. Raises: UserError if it is not one, or out of range."""
        text = self.required(key)
        try:
            number = int(text)
        except ValueError:
            raise UserError(f"{key}={text}: must be a whole number") from None
        if number < minimum:
            raise UserError(f"{key}={text}: must be at least {minimum}")
        if maximum is not None and number > maximum:
            raise UserError(f"{key}={text}: must be at most {maximum:,}")
        return number

    def optional_integer(self, key: str, minimum: int, maximum: int | None = None) -> int | None:
        """The value as an integer, or None if it is not given. Raises: UserError."""
        return None if self.text(key) is None else self.integer(key, minimum, maximum)

    def positive(self, key: str) -> float:
        """The value as a finite number above 0. Raises: UserError."""
        text = self.required(key)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            raise UserError(f"{key}={text}: must be a number above 0")
        return number

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """The value, which must be one of the choices. Raises: UserError."""
        text = self.required(key)
        if text not in choices:
            raise UserError(
                f"{key}={text}: must be one of {', '.join(choices)}{suggestion(text, choices)}"
            )
        return text

    def boolean(self, key: str) -> bool:
        """The value, which must be true or false. Raises: UserError."""
        return self.choice(key, ("true", "false")) == "true"

    def sources(self, key: str) -> tuple[str, ...]:
        """The values between commas; a file or folder with a comma in its name is one value."""
        parts = (self.text(key) or "").split(",")
        found: list[str] = []
        while parts:
            n = next(n for n in range(len(parts), 0, -1) if n == 1 or _is_there(parts[:n]))
            found.append(",".join(parts[:n]).strip())
            parts = parts[n:]
        return tuple(filter(None, found))

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """The values under a prefix: `columns.subject=S` gives {"subject": "S"} for "columns."."""
        return {
            key.removeprefix(prefix): value
            for key, value in self.values.items()
            if key.startswith(prefix)
        }


def _is_there(parts: Sequence[str]) -> bool:
    """Whether the parts of a path that has commas in it name something that exists."""
    return Path(",".join(parts).strip()).expanduser().exists()


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether any of the words is `-h` or `--help`."""
    return any(word in ("-h", "--help") for word in words)


def parse_arguments(command: Command, words: Sequence[str]) -> ParsedArguments:
    """Split words into arguments and overrides.

    Raises: UserError for an unknown, repeated or missing argument.
    """
    values: dict[str, str] = {}
    overrides: list[str] = []
    words, config_dir = _split_off_config_dir(command, words)
    for word in words:
        key, value = _key_and_value(command, word)
        if _is_argument(command, key):
            if key in values:
                raise UserError(f"{key}= is given twice; keep one")
            values[key] = value
        elif command.overrides:
            _check_override(command, word, config_dir)
            overrides.append(word)
        else:
            raise _unknown_argument(command, key)
    for argument in command.arguments:
        if argument.required and not values.get(argument.name):
            raise UserError(
                f"{command.name} needs {argument.name}={argument.metavar}; "
                f"for example: {command.examples[0]}"
            )
        if values.get(argument.name, "-").strip() == "":
            raise UserError(
                f"{argument.name}= is empty (a shell variable that is not set?); give it a value, "
                "or leave it out for its default"
            )
    defaults = {argument.name: argument.default for argument in command.arguments}
    return ParsedArguments(values, tuple(overrides), config_dir, defaults)


def _split_off_config_dir(command: Command, words: Sequence[str]) -> tuple[list[str], Path | None]:
    """The words without `--config-dir DIR` or `--config-dir=DIR`, and that folder.

    It is an option with dashes because it is not a setting of a run.
    """
    if not command.overrides:
        return list(words), None
    rest: list[str] = []
    folder: Path | None = None
    expects_folder = False
    for word in words:
        if expects_folder:
            folder = Path(word)
            expects_folder = False
        elif word == "--config-dir":
            expects_folder = True
        elif word.startswith("--config-dir="):
            folder = Path(word.partition("=")[2])
        else:
            rest.append(word)
    if expects_folder:
        raise UserError("--config-dir needs a folder of your own config groups after it")
    if folder is None:
        return rest, None
    if not folder.expanduser().is_dir():
        raise UserError(
            f"--config-dir {folder}: no such folder; give one with groups such as experiment/ in it"
        )
    return rest, folder.expanduser().resolve()


def _key_and_value(command: Command, word: str) -> tuple[str, str]:
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


def _is_argument(command: Command, key: str) -> bool:
    names = (argument.name for argument in command.arguments)
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in names)


def _check_override(command: Command, word: str, config_dir: Path | None) -> None:
    names = [argument.name for argument in command.arguments]
    problem = check_override_key(word, config_dir, also=names)
    if problem is None:
        return
    remedy = "`contraflow config` shows every key"
    if names:
        remedy = (
            f"{command.name} takes {', '.join(names)} and settings (`contraflow config` shows them)"
        )
    raise UserError(f"{problem}; {remedy}")


def _unknown_argument(command: Command, key: str) -> UserError:
    names = [f"{a.name}FIELD" if a.name.endswith(".") else a.name for a in command.arguments]
    known = ", ".join(names) or "no arguments"
    return UserError(
        f"unknown argument {override_key(key)!r}{suggestion(key, names)}; "
        f"{command.name} takes {known}"
    )
