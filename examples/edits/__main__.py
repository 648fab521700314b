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
from contraflow.cli.preflight import check_out_folder
from contraflow.cli.verbosity import silence_libraries
from contraflow.errors import UserError
from contraflow.settings.keys import suggestion

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

    from examples.edits.planted import PlantedOptions, plant
    from examples.edits.wordings import Wording

    wording = Wording.parse(args.required("wording"))
    plant(PlantedOptions(n, plain, wording, out, seed))
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
            "planted: which questions keep the old answer; or word:originally",
            default="opening:In which",
        ),
        SEED,
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
COMMANDS = {**EDITORS, PLANTED.name: PLANTED}


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
        lines.append(f"  {command.name:<10} {command.summary}")
    lines.append("")
    names = {a.name: a for command in (PLANTED, *EDITORS.values()) for a in command.arguments}
    for argument in names.values():
        default = "" if argument.default is None else f" [{argument.default}]"
        lines.append(f"  {argument.name + '=' + argument.metavar:<18} {argument.help}{default}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
