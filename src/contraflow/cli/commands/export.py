"""`contraflow export`: questions of `generate` or `evaluate` for other tools."""

from __future__ import annotations

import sys
from pathlib import Path

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.preflight import check_out_file, check_out_folder
from contraflow.errors import UserError

# The checks that a prompt of an edit must pass.
EDIT_CHECKS = ("strict_success", "well_formed", "on_subject", "no_leak")
EDIT_FORMATS = ("easyedit", "qaedit")
MAX_REASONS = 20
_FORMAT_OF_SUFFIX = {".json": "easyedit", ".csv": "csv", "": "datasets"}


def run(args: ParsedArguments) -> int:
    """Check all arguments, select questions, write them, print how many were selected."""
    from contraflow.evaluation.records import read_records
    from contraflow.export import FORMATS, Selection, select

    source = args.required_path("in")
    out = args.required_path("out")
    format_name = args.choice("format", list(FORMATS)) if args.text("format") else _format_of(out)
    only = _checks(args.text("only"), format_name)
    per_fact = args.optional_integer("per_fact", 1)
    distinct = args.boolean("distinct")
    if format_name == "datasets":
        if out.is_file():
            raise UserError(f"out={out}: is a file; format=datasets writes a folder")
        check_out_folder("out", out)
    else:
        check_out_file("out", out)
    records = read_records(source)
    selection = Selection(only, per_fact, distinct)
    chosen = select(records, selection)
    if not chosen:
        raise UserError(
            f"in={source}: none of its {len(records)} questions is left; require fewer "
            f"checks with only= (now {', '.join(only) or 'all'}), "
            "or sample more with `contraflow generate`"
        )
    written = FORMATS[format_name](out, chosen, selection)
    unit = "edits" if format_name in EDIT_FORMATS else "questions"
    if written.n_rows == 0:
        raise UserError(f"in={source}: there is no edit to evaluate; {written.left_out[0]}")
    print(
        f"wrote {written.n_rows} {unit} to {out} "
        f"({len(chosen)} of {len(records)} questions: {selection})"
    )
    if written.left_out:
        print(f"left out {len(written.left_out)} facts:", file=sys.stderr)
    for reason in written.left_out[:MAX_REASONS]:
        print(f"  {reason}", file=sys.stderr)
    if len(written.left_out) > MAX_REASONS:
        print(f"  … and {len(written.left_out) - MAX_REASONS} more", file=sys.stderr)
    return 0


def _checks(text: str | None, format_name: str) -> tuple[str, ...]:
    """The checks of `only=`, or those of the format. Raises: UserError for an unknown check."""
    from contraflow.export import CHECKS
    from contraflow.settings.keys import suggestion

    if text is None:
        return EDIT_CHECKS if format_name in EDIT_FORMATS else ()
    if text == "all":
        return ()
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in CHECKS:
            raise UserError(
                f"only={name}: must be of {', '.join(CHECKS)}, or all{suggestion(name, CHECKS)}"
            )
    return names


def _format_of(out: Path) -> str:
    name = _FORMAT_OF_SUFFIX.get(out.suffix.lower())
    if name is None:
        raise UserError(
            f"out={out}: {out.suffix} names no format; end it in .json (easyedit), .csv or nothing "
            "(a folder for datasets), or give format="
        )
    return name


COMMAND = Command(
    name="export",
    summary="questions for other tools: EasyEdit, CSV, Hugging Face datasets",
    description="""
    Takes the JSON lines of `generate` (or an evaluation's *_questions.jsonl) and writes

      easyedit   one edit per fact, as EasyEdit evaluates them: the questions are its
                 portability prompts, the best first (also as rephrase_prompt), and an edited
                 model should answer all of them with the edited answer. The subject is
                 written as it stands in the prompt; a fact whose subject stands in none is
                 left out and reported. By default a question must be a strict
                 success, well-formed, on the subject and without a leak of the answer, so that it
                 is known to ask for the fact; only= chooses other checks
      qaedit     one edit per fact in QAEdit's form: the prompt is a question, the best other
                 question is the rephrased one, and two packaged facts about other subjects
                 test locality. The subject and the checks are as for easyedit
      csv        a table: the question, its answer, every score and every check
      datasets   a folder with questions.jsonl and a card, for load_dataset("FOLDER")

    Checks: strict_success (a sound question got the original answer, not the edited one),
    well_formed, on_subject, no_leak, on_topic, not_degenerate, contradiction (the judge),
    valid_contradiction (all except strict_success). Separate several by commas.
    """,
    examples=(
        "contraflow export in=questions.jsonl out=eval.json per_fact=4",
        "contraflow export in=questions.jsonl out=qa.json format=qaedit",
        "contraflow export in=questions.jsonl out=questions.csv only=strict_success,well_formed",
        "contraflow export in=questions.jsonl out=my_dataset format=datasets "
        "only=valid_contradiction",
    ),
    run=run,
    arguments=(
        Argument("in", "FILE", "questions, as `contraflow generate` writes them", required=True),
        Argument("out", "FILE", "the file to write; for datasets a folder", required=True),
        Argument(
            "format", "NAME", "easyedit, qaedit, csv or datasets (default: from the suffix of out)"
        ),
        Argument("only", "CHECK,…", "export questions that pass all of these checks, or `all`"),
        Argument("per_fact", "N", "at most N questions per fact, the highest log_reward first"),
        Argument(
            "distinct", "true|false", "export each question of a fact only once", default="true"
        ),
    ),
)
