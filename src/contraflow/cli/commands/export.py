"""`contraflow export`: questions of `generate` or `evaluate` for other tools."""

from __future__ import annotations

from pathlib import Path

from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.early import check_out_file, check_out_folder
from contraflow.errors import UserError

EDIT_CHECKS = (
    "strict_success",
    "well_formed",
    "on_subject",
    "no_leak",
)  # what a prompt of an edit must pass
_FORMAT_OF_SUFFIX = {".json": "easyedit", ".csv": "csv", "": "datasets"}


def run(given: Given) -> int:
    """Check all arguments, select, write, say how many were left out."""
    from contraflow.evaluation.records import read_records
    from contraflow.export import CHECKS, FORMATS, Selection, select
    from contraflow.settings.keys import suggestion

    source, out = Path(given.needed("in")).expanduser(), Path(given.needed("out")).expanduser()
    format_name = given.choice("format", list(FORMATS)) if given.text("format") else _format_of(out)
    only = _only(given.text("only"), format_name)
    for name in only:
        if name not in CHECKS:
            raise UserError(
                f"only={name}: must be of {', '.join(CHECKS)}, or all{suggestion(name, CHECKS)}"
            )
    per_fact = given.integer("per_fact", 1) if given.text("per_fact") else None
    distinct = given.choice("distinct", ("true", "false")) == "true"
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
            f"in={source}: none of its {len(records)} questions is left; ask for less with only= (now "
            f"{', '.join(only) or 'all'}), or draw more with `contraflow generate`"
        )
    count = FORMATS[format_name](out, chosen, selection)
    what = "edits" if format_name == "easyedit" else "questions"
    if count == 0:
        out.unlink()
        raise UserError(
            f"in={source}: no fact has an edited_answer, so there is no edit to evaluate"
        )
    print(f"wrote {count} {what} to {out} ({len(chosen)} of {len(records)} questions: {selection})")
    return 0


def _only(text: str | None, format_name: str) -> tuple[str, ...]:
    if text is None:
        return EDIT_CHECKS if format_name == "easyedit" else ()
    return () if text == "all" else tuple(name.strip() for name in text.split(",") if name.strip())


def _format_of(out: Path) -> str:
    found = _FORMAT_OF_SUFFIX.get(out.suffix.lower())
    if found is None:
        raise UserError(
            f"out={out}: {out.suffix} tells no format; end it in .json (easyedit), .csv or nothing (a folder for "
            "datasets), or give format="
        )
    return found


COMMAND = Command(
    name="export",
    summary="questions for other tools: EasyEdit, CSV, Hugging Face datasets",
    about="""
    Takes the JSON lines of `generate` (or an evaluation's *_questions.jsonl) and writes

      easyedit   one edit a fact, as EasyEdit evaluates them: the best question is rephrase_prompt, the others
                 are portability prompts, all to be answered with the edited answer once a model is edited.
                 Only well-formed strict successes on the subject that give no answer away, unless only=
                 says otherwise: they are known to ask for the fact
      csv        a table: the question, its answer, every number and every check
      datasets   a folder with questions.jsonl and a card, for load_dataset("FOLDER")

    Checks: strict_success (the answer names the original answer and not the edited one), well_formed,
    on_subject, no_leak, on_topic, not_degenerate, contradiction (the judge), valid_contradiction (all but
    strict_success). Several are joined by commas.
    """,
    examples=(
        "contraflow export in=questions.jsonl out=eval.json per_fact=4",
        "contraflow export in=questions.jsonl out=questions.csv only=strict_success,well_formed",
        "contraflow export in=questions.jsonl out=my_dataset format=datasets only=valid_contradiction",
    ),
    run=run,
    arguments=(
        Argument("in", "FILE", "questions, as `contraflow generate` writes them", required=True),
        Argument("out", "FILE", "what to write; for datasets a folder", required=True),
        Argument(
            "format", "NAME", "easyedit, csv or datasets (default: told by the ending of out)"
        ),
        Argument("only", "CHECK,…", "questions that pass all of these checks, or `all`"),
        Argument("per_fact", "N", "at most so many of a fact, those with the highest log_reward"),
        Argument("distinct", "true|false", "each question of a fact once", default="true"),
    ),
)
