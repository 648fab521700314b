"""`contraflow export`: questions of `generate`, `evaluate` or `audit` for other tools."""

from __future__ import annotations

from pathlib import Path

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._audit_export import print_left_out, run_audit_export
from contraflow.cli.outputs import check_data_set, check_output
from contraflow.errors import UserError

# The checks that a prompt of an edit must pass.
EDIT_CHECKS = ("strict_success", "well_formed", "on_subject", "no_leak")
EDIT_FORMATS = ("easyedit", "qaedit")
_FORMAT_OF_SUFFIX = {".json": "easyedit", ".csv": "csv", "": "datasets"}


def run(args: ParsedArguments) -> int:
    """Check all arguments, select questions, write them, print how many were selected."""
    from contraflow.auditing.outcome.finished import is_audit
    from contraflow.evaluation.records import read_records
    from contraflow.export import FORMATS, Selection, select, why_nothing_is_left

    source = args.required_path("in")
    if is_audit(source):
        return run_audit_export(args, source)
    if source.is_dir():
        raise UserError(
            f"in={source}: is a folder without an audit.json; name the folder of an audit, or a "
            "file of questions"
        )
    if args.text("edited"):
        raise UserError("edited=: only an audit has several edited models; leave it out")
    out = args.required_path("out")
    format_name = args.choice("format", list(FORMATS)) if args.text("format") else _format_of(out)
    only = _checks(args.text("only"), format_name)
    per_fact = args.optional_integer("per_fact", 1)
    distinct = args.boolean("distinct")
    if format_name == "datasets":
        check_data_set(args, out, "in")
    else:
        check_output(args, out, "in")
    records = read_records(source)
    selection = Selection(only, per_fact, distinct)
    chosen = select(records, selection)
    if not chosen:
        raise UserError(f"in={source}: {why_nothing_is_left(records, only)}")
    written = FORMATS[format_name](out, chosen, selection)
    unit = "edits" if format_name in EDIT_FORMATS else "questions"
    if written.n_rows == 0:
        raise UserError(f"in={source}: there is no edit to evaluate; {written.left_out[0]}")
    print(
        f"wrote {written.n_rows} {unit} to {out} "
        f"({len(chosen)} of {len(records)} questions: {selection})"
    )
    print_left_out(written.left_out)
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
    if not names:
        raise UserError(f"only={text}: names no check; give some of {', '.join(CHECKS)}, or all")
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
    Takes the JSON lines of `generate` (or an evaluation's *_questions.jsonl), or the folder of an
    audit, and writes

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
      edits      of an audit: an edits file, where the questions are the paraphrases of their edit;
                 an editor trains on them, and the next audit asks them again

    Checks: strict_success (a sound question got the original answer, not the edited one),
    well_formed, on_subject, no_leak, on_topic, not_degenerate, contradiction (the judge),
    valid_contradiction (all except strict_success). Separate several by commas.

    Of an audit, the failing questions are exported (the control tells the original answer, the
    edited model does not tell the new one), one of each failure mode first, as edits, easyedit,
    qaedit or csv (a row per question, edited model and style, with both answers). only= takes
    failing, residual (both models tell the original answer), known (the control does), sound (about
    the subject, naming neither answer) and drawn (with a weight); edited= names one edited model.
    """,
    examples=(
        "contraflow export in=questions.jsonl out=eval.json per_fact=4",
        "contraflow export in=questions.jsonl out=qa.json format=qaedit",
        "contraflow export in=questions.jsonl out=questions.csv only=strict_success,well_formed",
        "contraflow export in=questions.jsonl out=my_dataset format=datasets "
        "only=valid_contradiction",
        "contraflow export in=audits/mine out=failing.jsonl per_fact=8",
        "contraflow export in=audits/mine out=failing.csv edited=rome only=residual",
    ),
    run=run,
    arguments=(
        Argument(
            "in",
            "FILE",
            "questions, as `contraflow generate` writes them; or the folder of an audit",
            required=True,
        ),
        Argument("out", "FILE", "the file to write; for datasets a folder", required=True),
        Argument(
            "format",
            "NAME",
            "easyedit, qaedit, csv, datasets or edits (default: from the suffix of out)",
        ),
        Argument("only", "CHECK,…", "export questions that pass all of these checks, or `all`"),
        Argument("per_fact", "N", "at most N questions per fact, the best first"),
        Argument("edited", "NAME", "of an audit: the questions of one edited model"),
        Argument(
            "distinct", "true|false", "export each question of a fact only once", default="true"
        ),
    ),
)
