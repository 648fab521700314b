"""What `--help` prints: from the same tables that the words are read with, so that it cannot go
stale.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from contraflow.cli.command import Argument, Command
from contraflow.settings.keys import choices_of, group_defaults, group_names

WIDTH = 100
_CONFIG_DIR = (
    "--config-dir DIR",
    "a folder with config groups of your own, such as DIR/experiment/mine.yaml",
)


def overview(commands: Sequence[Command]) -> str:
    """Help of `contraflow` itself: one line and one example a command."""
    width = max(len(command.name) for command in commands)
    lines = [
        "contraflow: teach a language model to ask contradictory questions, in proportion to their reward.",
        "",
        "usage: contraflow COMMAND [key=value …]      contraflow COMMAND --help      contraflow --version",
        "",
    ]
    for command in commands:
        lines.append(f"  {command.name:<{width}}  {command.summary}")
        lines.append(f"  {'':<{width}}    {command.examples[0]}")
    lines += ["", "Set CONTRAFLOW_DEBUG=1 to see tracebacks and the messages of libraries."]
    return "\n".join(lines)


def family_help(family: str, commands: Sequence[Command]) -> str:
    """Help of `contraflow data`: its commands."""
    members = [command for command in commands if command.name.startswith(f"{family} ")]
    lines = [f"usage: contraflow {family} COMMAND [key=value …]", ""]
    for command in members:
        lines += [f"  {command.name}", f"      {command.summary}", f"      {command.examples[0]}"]
    return "\n".join([*lines, "", f"contraflow {family} COMMAND --help says more."])


def command_help(command: Command) -> str:
    """Help of one command."""
    blocks = [_usage(command), _wrapped(command.about)]
    if command.arguments:
        blocks.append(
            _table("arguments", [(_shown(a.name, a.value), _told(a)) for a in command.arguments])
        )
    if command.overrides:
        rows = [("[overrides]", command.overrides), _CONFIG_DIR]
        blocks.append(_table("settings" if command.arguments else "arguments", rows))
    if command.details is not None:
        blocks.append(command.details())
    blocks.append("\n".join(["examples:", *(f"  {example}" for example in command.examples)]))
    return "\n\n".join(blocks)


def groups_help() -> str:
    """Every group with its choices, read from the packaged files."""
    blocks = ["groups (group=CHOICE; * is the default):"]
    defaults = group_defaults()
    for group in group_names():
        rows = [
            (f"{'*' if name == defaults[group] else ' '} {name}", says)
            for name, says in choices_of(group).items()
        ]
        blocks.append(_table(f"  {group}", rows, indent=4, width=28))
    return "\n".join(blocks)


def _usage(command: Command) -> str:
    words = [
        command.positional.upper()
        if argument.name == command.positional
        else _shown(argument.name, argument.value)
        for argument in command.arguments
        if argument.required or argument.name == command.positional
    ]
    optional = [] if len(words) == len(command.arguments) else ["[key=value …]"]
    overrides = ["[overrides]"] if command.overrides else []
    return " ".join(["usage: contraflow", command.name, *words, *optional, *overrides])


def _shown(name: str, value: str) -> str:
    return f"{name}FIELD={value}" if name.endswith(".") else f"{name}={value}"


def _told(argument: Argument) -> str:
    if argument.required:
        return f"{argument.help} (required)"
    return (
        argument.help
        if argument.default is None
        else f"{argument.help} (default: {argument.default})"
    )


def _table(title: str, rows: Iterable[tuple[str, str]], indent: int = 2, width: int = 24) -> str:
    return "\n".join([f"{title}:", *_columns(rows, indent, width)])


def _columns(rows: Iterable[tuple[str, str]], indent: int, width: int) -> Iterator[str]:
    for name, says in rows:
        head = f"{' ' * indent}{name:<{width - indent - 1}} "
        wrapped = textwrap.wrap(says, WIDTH - width, break_on_hyphens=False) or [""]
        if len(head) > width:
            yield head.rstrip()
            head = " " * width
        yield f"{head}{wrapped[0]}".rstrip()
        yield from (" " * width + line for line in wrapped[1:])


def _wrapped(text: str) -> str:
    return "\n\n".join(map(_paragraph, textwrap.dedent(text).strip("\n").rstrip().split("\n\n")))


def _paragraph(text: str) -> str:
    """Filled; an indented one is a table of `name   what it is`, continued where lines are indented
    further.
    """
    if not text.startswith("  "):
        return textwrap.fill(" ".join(text.split()), WIDTH, break_on_hyphens=False)
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("   "):
            rows[-1].append(line.strip())
        else:
            rows.append(line.split(maxsplit=1))
    named = [(name, " ".join(says)) for name, *says in rows]
    return "\n".join(_columns(named, 2, 5 + max(len(name) for name, _ in named)))
