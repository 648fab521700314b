"""`contraflow data`: convert facts from other formats, check facts, keep those an oracle knows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._filter_known import check_oracle_alone, write_known
from contraflow.cli.commands._unused import not_read, print_warnings
from contraflow.cli.outputs import check_output
from contraflow.cli.preflight import check_prompts
from contraflow.errors import UserError
from contraflow.facts import Fact, read_facts, split_facts
from contraflow.facts.notes import notes
from contraflow.system.input_file import require_file
from contraflow.text.folding import caseless

SHIPPED = Path(__file__).parents[2] / "assets" / "facts.jsonl"
MAX_MESSAGES = 5
_BLOCK_BYTES = 1 << 20


def run_convert(args: ParsedArguments) -> int:
    """Read one format, write edits, print how many rows were skipped and why."""
    from contraflow.facts.edits import write_edits
    from contraflow.facts.formats import FORMATS, Skipped, convert_edits, format_of
    from contraflow.system.progress import bar

    source = args.required_path("in")
    out = args.required_path("out")
    require_file(source, key="in")
    columns = args.with_prefix("columns.")
    given_format = args.choice("format", list(FORMATS)) if args.text("format") else None
    name = format_of(source, given_format, columns)
    on_error: Any = args.choice("on_error", ("raise", "skip"))
    check_output(args, out, "in")
    if out.suffix.lower() in (".csv", ".tsv"):
        raise UserError(f"out={out}: facts are written as JSONL, not a table; name a .jsonl file")
    skipped = Skipped()
    ignore = [field for field in (args.text("ignore") or "").split(",") if field]
    with bar(f"reading {source.name} ({name})", _estimated_rows(source)) as progress:
        edits = convert_edits(
            source,
            name,
            columns=columns,
            on_error=on_error,
            skipped=skipped,
            ignore=ignore,
            on_edit=progress.advance,
        )
        first = next(edits, None)
        if first is None:
            raise _no_fact(source, skipped.messages)
        count = write_edits(out, chain([first], edits))
    repeated = f", {skipped.repeated} repeated edits" if skipped.repeated else ""
    print(f"wrote {count} facts to {out}; skipped {skipped.count} rows{repeated}")
    _print_first(skipped.messages, skipped.count)
    if skipped.unread:
        print("test prompts that are not read:", file=sys.stderr)
        _print_first(skipped.unread, len(skipped.unread))
    if skipped.not_read:
        print("columns that are not read:", file=sys.stderr)
        _print_first(_not_read(skipped.not_read), len(skipped.not_read))
    return 0


def _not_read(columns: Sequence[str]) -> list[str]:
    """What to say of each column: those that are nearly a field come first, with the remedy."""
    from contraflow.facts.misspelt import similar_key

    similar = {column: similar_key(column) for column in columns}
    return [
        f"{column} (for {field!r} give columns.{field}={column})" if field else column
        for column, field in sorted(similar.items(), key=lambda item: item[1] is None)
    ]


def _no_fact(source: Path, reasons: Sequence[str]) -> UserError:
    reason = reasons[0] if reasons else "it has none"
    return UserError(
        f"in={source}: no row is a fact ({reason}); map its columns with columns.FIELD=NAME"
    )


def _print_first(messages: list[str], count: int) -> None:
    for message in messages[:MAX_MESSAGES]:
        print(f"  {message}", file=sys.stderr)
    if count > MAX_MESSAGES:
        print(f"  … and {count - MAX_MESSAGES} more", file=sys.stderr)


def _estimated_rows(path: Path) -> int:
    """The total for the progress bar.

    Lines of a text table; for JSON an estimate from the size of the first rows.
    """
    from contraflow.facts.formats import rows_about

    if path.suffix.lower() == ".json":
        return rows_about(path)
    lines = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            lines += block.count(b"\n")
    return max(1, lines)


def run_check(args: ParsedArguments) -> int:
    """Print the problems of a facts file, or a summary if there are none."""
    from contraflow.facts.check import check_facts
    from contraflow.text.alphabet import VOCABULARIES

    path = args.path("facts") or SHIPPED
    problems = check_facts(path, args.choice("vocabulary", VOCABULARIES))
    for problem in problems:
        print(problem)
    if problems:
        s = "" if len(problems) == 1 else "s"
        print(f"{path}: {len(problems)} problem{s}", file=sys.stderr)
        return 1
    print(_summary(path, read_facts(path)))
    return 0


def _summary(path: Path, facts: list[Fact]) -> str:
    relations = {fact.relation for fact in facts if fact.relation}
    subjects = {caseless(fact.subject) for fact in facts}
    splits = split_facts(facts)
    found = "".join(f"\n  note: {line}" for line in notes(facts))
    sizes = ", ".join(f"{name} {len(part)}" for name, part in splits._asdict().items())
    return (
        f"{path}: no problems\n"
        f"  {len(facts)} facts, {len(subjects)} subjects, {len(relations)} relations\n"
        f"  splits: {sizes}{found}"
    )


def run_filter_known(args: ParsedArguments) -> int:
    """Keep the facts whose plain question the oracle answers correctly."""
    from contraflow.settings.compose import compose_config

    source = args.path("facts")
    out = args.required_path("out")
    facts = read_facts(source or SHIPPED)
    check_output(args, out, "facts")
    config = compose_config(args.overrides, args.config_dir)
    read = ("model", "oracle", "prompt")
    print_warnings(not_read(args.overrides, "data filter-known", read))
    check_prompts(config)
    check_oracle_alone(config)
    if not any(fact.original_answer for fact in facts):
        raise UserError(
            f"facts={source}: no fact has an original_answer, "
            "so the oracle's answers cannot be compared with anything"
        )

    n_known = write_known(facts, out, config)
    print(
        f"kept {n_known} facts in {out}; "
        f"dropped {len(facts) - n_known} that the oracle does not know"
    )
    return 0


_FACTS_FORMAT = "JSONL of facts: one object per line with subject and edit_fact"

COMMANDS = (
    Command(
        name="data convert",
        summary="convert zsRE, CounterFact, MQuAKE, RippleEdits, KnowEdit or a table to facts",
        description="""
        Writes one JSON object per fact. The format follows from the name of the file, and for JSON
        from the fields of its first row: zsre (MEND/ROME JSON, MEND's JSON lines, the prototype's
        pickle), counterfact, mquake (CF and T), rippleedits, knowedit (QAEdit too) and
        easyedit_results (what EasyEdit's editors write); csv, jsonl and json are tables of your
        own. Files are streamed, so their size does not matter. Open prompts ("The capital of
        France is") and questions become statements (docs/data.md explains how).

        The edit's own prompt, its paraphrases, locality, portability and multi-hop prompts are
        written along, under keys that readers of facts ignore and that an audit reads.

        Map fields that your table names differently: columns.subject=Entity reads the subject from
        the column Entity. Fields: subject and edit_fact (required), fact_id, original_fact,
        relation, original_answer, edited_answer, question, aliases, and of an edit prompt,
        paraphrases, prefix, subject_aliases, edited_aliases, in JSON also locality and
        portability. The fields of a published format are fixed: one that is unknown, missing or of
        another type stops the conversion with its name, unless ignore=FIELD leaves it unread.

        A pickle is read without executing anything in it.
        """,
        examples=(
            "contraflow data convert in=ZSRE_1000.pkl out=zsre.jsonl on_error=skip",
            "contraflow data convert in=counterfact.json out=counterfact.jsonl",
            "contraflow data convert in=results.json out=edits.jsonl",
            "contraflow data convert in=MQuAKE-CF.json out=mquake.jsonl format=mquake "
            "on_error=skip",
            "contraflow data convert in=my.csv out=my.jsonl columns.subject=Entity "
            "columns.edit_fact=Claim",
        ),
        run=run_convert,
        arguments=(
            Argument("in", "FILE", "the file to convert", required=True),
            Argument("out", "FILE", "file for the facts, as JSONL", required=True),
            Argument(
                "format",
                "NAME",
                "zsre, counterfact, mquake, rippleedits, knowedit, easyedit_results, csv, jsonl "
                "or json (default: from the file)",
            ),
            Argument("columns.", "NAME", "the column of a field, if it has another name"),
            Argument("ignore", "FIELD,…", "fields of a published format to leave unread"),
            Argument(
                "on_error",
                "raise|skip",
                "at a bad row, stop, or skip the row and report it",
                default="raise",
            ),
        ),
    ),
    Command(
        name="data check",
        summary="find duplicates, leaks, malformed rows and wrong types in a facts file",
        description="""
        Prints every problem as file:line: message and exits with 1. Without problems it prints the
        numbers of facts, subjects and relations and the sizes of the splits, and exits with 0.
        """,
        examples=("contraflow data check my_facts.jsonl", "contraflow data check"),
        run=run_check,
        arguments=(
            Argument("facts", "FILE", f"{_FACTS_FORMAT} (default: the shipped facts)"),
            Argument(
                "vocabulary",
                "latin|printable_ascii|all",
                "policy.vocabulary of the run: a subject that it cannot write is a problem",
                default="latin",
            ),
        ),
        positional="facts",
    ),
    Command(
        name="data filter-known",
        summary="keep the facts that the oracle answers correctly to a plain question",
        description="""
        The oracle's answers cannot contradict a fact that it does not know: such a fact only adds
        noise. The oracle answers each fact's question once (without one: its original_fact with
        "what" in place of the answer). The fact is kept if the oracle's answer names
        original_answer or an alias and not edited_answer. Facts without original_answer are
        dropped. Where none is known, out= is not written and the exit code is 2.
        """,
        examples=(
            "contraflow data filter-known facts=my_facts.jsonl out=known.jsonl",
            "contraflow data filter-known out=known.jsonl model=gpt2_large",
        ),
        run=run_filter_known,
        arguments=(
            Argument("facts", "FILE", f"{_FACTS_FORMAT} (default: the shipped facts)"),
            Argument("out", "FILE", "file for the facts that are kept", required=True),
        ),
        overrides=(
            "the oracle: model=smollm2 (default), model=gpt2, oracle.name=… in any form that a run "
            "takes (a folder, a hub name, an adapter, a delta, openai:URL#MODEL), "
            "prompt.answer=…, oracle.batch_size=64"
        ),
    ),
)
