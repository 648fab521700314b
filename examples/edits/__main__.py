"""`python -m examples.edits EDITOR n=12 out=FOLDER`: edit the packaged model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from contraflow.cli.command import (
    Argument,
    Command,
    ParsedArguments,
    asks_for_help,
    parse_arguments,
)
from contraflow.cli.failures import report_failure
from contraflow.cli.verbosity import silence_libraries
from contraflow.errors import UserError
from contraflow.settings.keys import suggestion
from contraflow.system.writable import check_out_folder

SUMMARIES = {
    "fine_tune": "constrained fine-tuning of one MLP projection: delta.safetensors",
    "lora": "a LoRA adapter that also keeps other facts: a PEFT folder",
    "rank_one": "ROME, all in one model: delta.safetensors; each=true: one model a fact",
}
OUT = Argument("out", "FOLDER", "where the edited weights, edits and scores go", required=True)
SEED = Argument("seed", "N", "initial weights of an adapter, and draws", default="0")
ARGUMENTS = (
    OUT,
    Argument("n", "N", "how many facts to edit", default="12"),
    Argument("facts", "FILE", "facts to choose from instead of the packaged test facts"),
    SEED,
    Argument("each", "true|false", "rank_one: a model for each fact", default="false", flag=True),
)


def run(editor: str) -> Callable[[ParsedArguments], int]:
    """The function of one editor's command."""

    def _run(args: ParsedArguments) -> int:
        out = args.required_path("out")
        check_out_folder("out", out)
        n = args.integer("n", 1)
        seed = args.integer("seed", 0)
        each = args.boolean("each")

        from examples.edits.editing import Options, edit

        edit(editor, Options(n, out, args.text("facts"), seed, each))
        return 0

    return _run


def run_planted(args: ParsedArguments) -> int:
    """Plant failures in the packaged model."""
    out = args.required_path("out")
    check_out_folder("out", out)
    n = args.integer("n", 1)
    plain = args.integer("plain", 1)
    seed = args.integer("seed", 0)
    hidden = args.boolean("hidden")

    from examples.edits.planted import PlantedOptions, plant
    from examples.edits.wordings import Wording

    wording = Wording.parse(args.required("wording"))
    plant(PlantedOptions(n, plain, wording, out, seed, hidden))
    return 0


def run_planted_check(args: ParsedArguments) -> int:
    """Tell what an audit found of the planted failures."""
    from examples.edits.planted_check import as_table, check_planted

    print(as_table(check_planted(args.required_path("audit"), args.required_path("planted"))))
    return 0


PLANTED = Command(
    "planted",
    "a LoRA edit that keeps the old answer for one wording: a PEFT folder, planted.json",
    "",
    ("python -m examples.edits planted n=6 plain=6 out=edits/planted",),
    run_planted,
    (
        OUT,
        Argument("n", "N", "facts with the wording planted", default="6"),
        Argument("plain", "N", "planted: facts that get the new answer always", default="6"),
        Argument(
            "wording",
            "RULE",
            "planted: which questions keep the old answer; or opening:Which, word:originally",
            default="opening:In which",
        ),
        Argument(
            "hidden",
            "true|false",
            "planted: only facts whose plain question is not in the wording",
            default="false",
            flag=True,
        ),
        SEED,
    ),
)
PLANTED_CHECK = Command(
    "planted_check",
    "what an audit found of the planted failures: facts, questions until then, false alarms",
    "",
    ("python -m examples.edits planted_check audit=audits/planted planted=edits/planted",),
    run_planted_check,
    (
        Argument("audit", "FOLDER", "planted_check: the audit's folder", required=True),
        Argument("planted", "FOLDER", "planted_check: what `planted` wrote", required=True),
    ),
)
EDITORS = {
    name: Command(
        name,
        summary,
        summary,
        (f"python -m examples.edits {name} n=12 out=edits/{name}",),
        run(name),
        ARGUMENTS,
    )
    for name, summary in SUMMARIES.items()
}
COMMANDS = {**EDITORS, PLANTED.name: PLANTED, PLANTED_CHECK.name: PLANTED_CHECK}


def main(words: Sequence[str]) -> int:
    """Run one command and return its exit code: 2 for an error that the user can fix."""
    try:
        if not words or asks_for_help(words):
            print(usage())
            return 0
        if words[0] not in COMMANDS:
            known = ", ".join(COMMANDS)
            hint = suggestion(words[0], tuple(COMMANDS))
            raise UserError(f"unknown editor {words[0]!r}{hint}; there are {known}")
        command = COMMANDS[words[0]]
        arguments = parse_arguments(command, words[1:])
        silence_libraries()
        return command.run(arguments)
    except (Exception, KeyboardInterrupt) as error:
        return report_failure(error)


def usage() -> str:
    """What the command takes."""
    lines = ["python -m examples.edits EDITOR out=FOLDER [key=value …]", ""]
    for command in COMMANDS.values():
        lines.append(f"  {command.name:<13} {command.summary}")
    lines.append("")
    commands = (PLANTED_CHECK, PLANTED, *EDITORS.values())
    names = {a.name: a for command in commands for a in command.arguments}
    for argument in names.values():
        default = "" if argument.default is None else f" [{argument.default}]"
        lines.append(f"  {argument.name + '=' + argument.metavar:<18} {argument.help}{default}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
