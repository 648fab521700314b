"""The text of `--help`, built from the same tables that parse the words, so it cannot go stale."""

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
    """Help of `contraflow` itself: one line and one example per command."""
    width = max(len(command.name) for command in commands)
    lines = [
        "contraflow: fine-tune a language model to ask contradictory questions about a false fact,",
        "each sampled in proportion to its reward.",
        "",
        "usage: contraflow COMMAND [key=value …]",
        "       contraflow COMMAND --help",
        "       contraflow --version",
        "",
    ]
    for command in commands:
        lines.append(f"  {command.name:<{width}}  {command.summary}")
        lines.append(f"  {'':<{width}}    {command.examples[0]}")
    lines += ["", "Set CONTRAFLOW_DEBUG=1 to see tracebacks and the messages of libraries."]
    return "\n".join(lines)


def family_help(family: str, commands: Sequence[Command]) -> str:
    """Help of a family such as `contraflow data`: one line and one example per command."""
    members = [command for command in commands if command.name.startswith(f"{family} ")]
    lines = [f"usage: contraflow {family} COMMAND [key=value …]", ""]
    for command in members:
        lines += [f"  {command.name}", f"      {command.summary}", f"      {command.examples[0]}"]
    return "\n".join([*lines, "", f"contraflow {family} COMMAND --help shows the arguments."])


def command_help(command: Command) -> str:
    """Help of one command: usage, description, arguments, settings, details, examples."""
    blocks = [_usage(command), _filled(command.description)]
    if command.arguments:
        rows = [
            (_key_and_metavar(argument), _help_with_default(argument))
            for argument in command.arguments
        ]
        blocks.append(table("arguments", rows))
    if command.overrides:
        rows = [("[overrides]", command.overrides), _CONFIG_DIR]
        blocks.append(table("settings" if command.arguments else "arguments", rows))
    if command.details is not None:
        blocks.append(command.details())
    blocks.append("\n".join(["examples:", *(f"  {example}" for example in command.examples)]))
    return "\n\n".join(blocks)


def groups_help() -> str:
    """Every config group with its choices, read from the packaged files."""
    blocks = ["groups (group=CHOICE; * is the default):"]
    defaults = group_defaults()
    for group in group_names():
        rows = [
            (f"{'*' if name == defaults[group] else ' '} {name}", description)
            for name, description in choices_of(group).items()
        ]
        blocks.append(table(f"  {group}", rows, indent=4, width=28))
    return "\n".join(blocks)


def table(title: str, rows: Iterable[tuple[str, str]], indent: int = 2, width: int = 24) -> str:
    """A title and two columns; the second starts at column `width` and is wrapped."""
    return "\n".join([f"{title}:", *_columns(rows, indent, width)])


def _usage(command: Command) -> str:
    words: list[str] = []
    for argument in command.arguments:
        if argument.name == command.positional:
            words.append(command.positional.upper())
        elif argument.required:
            words.append(_key_and_metavar(argument))
    optional = [] if len(words) == len(command.arguments) else ["[key=value …]"]
    overrides = ["[overrides]"] if command.overrides else []
    return " ".join(["usage: contraflow", command.name, *words, *optional, *overrides])


def _key_and_metavar(argument: Argument) -> str:
    key = f"{argument.name}FIELD" if argument.name.endswith(".") else argument.name
    return f"{key}={argument.metavar}"


def _help_with_default(argument: Argument) -> str:
    if argument.required:
        return f"{argument.help} (required)"
    if argument.default is None:
        return argument.help
    return f"{argument.help} (default: {argument.default})"


def _columns(rows: Iterable[tuple[str, str]], indent: int, width: int) -> Iterator[str]:
    for name, description in rows:
        head = f"{' ' * indent}{name:<{width - indent - 1}} "
        wrapped = textwrap.wrap(description, WIDTH - width, break_on_hyphens=False) or [""]
        if len(head) > width:  # the name is too long: the description starts on the next line
            yield head.rstrip()
            head = " " * width
        yield f"{head}{wrapped[0]}".rstrip()
        yield from (" " * width + line for line in wrapped[1:])


def _filled(text: str) -> str:
    """Wrap each paragraph of an indented block of text."""
    paragraphs = textwrap.dedent(text).strip("\n").rstrip().split("\n\n")
    return "\n\n".join(_paragraph(paragraph) for paragraph in paragraphs)


def _paragraph(text: str) -> str:
    """Wrap one paragraph.

    An indented paragraph is a table of `name   description`; lines that are indented further
    continue the description.
    """
    if not text.startswith("  "):
        return textwrap.fill(" ".join(text.split()), WIDTH, break_on_hyphens=False)
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("   "):
            rows[-1].append(line.strip())
        else:
            rows.append(line.split(maxsplit=1))
    columns = [(name, " ".join(parts)) for name, *parts in rows]
    return "\n".join(_columns(columns, 2, 5 + max(len(name) for name, _ in columns)))
