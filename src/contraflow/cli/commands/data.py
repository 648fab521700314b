"""`contraflow data`: facts from other formats, facts checked, facts that an oracle knows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.early import check_models, check_out_file, check_prompts
from contraflow.errors import UserError
from contraflow.facts import Fact, read_facts, split_facts, write_facts

if TYPE_CHECKING:
    from contraflow.settings import Config

SHIPPED = Path(__file__).parents[2] / "assets" / "facts.jsonl"
SKIPPED_SHOWN = 5


def run_convert(given: Given) -> int:
    """Read one format, write ours, say what was left out."""
    from contraflow.facts.formats import FORMATS, Skipped, convert, format_of
    from contraflow.system.progress import bar

    source, out = Path(given.needed("in")).expanduser(), Path(given.needed("out")).expanduser()
    if not source.is_file():
        raise UserError(f"in={source}: no such file; check the path")
    columns = given.with_prefix("columns.")
    named = given.choice("format", list(FORMATS)) if given.text("format") else None
    name = format_of(source, named, columns)
    on_error: Any = given.choice("on_error", ("raise", "skip"))
    check_out_file("out", out)
    skipped = Skipped()
    ignore = [field for field in (given.text("ignore") or "").split(",") if field]
    facts = convert(
        source, name, columns=columns, on_error=on_error, skipped=skipped, ignore=ignore
    )

    def counted() -> Iterator[Fact]:
        with bar(f"reading {source.name} ({name})", _rows_about(source)) as progress:
            for fact in facts:
                progress.advance()
                yield fact

    count = write_facts(out, counted())
    if count == 0:
        out.unlink()
        raise UserError(
            f"in={source}: no row is a fact ({_first(skipped.messages)}); "
            "map its columns with columns.FIELD=NAME"
        )
    repeated = f", {skipped.repeated} repeated edits" if skipped.repeated else ""
    print(f"wrote {count} facts to {out}; skipped {skipped.count} rows{repeated}")
    for message in skipped.messages[:SKIPPED_SHOWN]:
        print(f"  {message}", file=sys.stderr)
    if skipped.count > SKIPPED_SHOWN:
        print(f"  … and {skipped.count - SKIPPED_SHOWN} more", file=sys.stderr)
    return 0


def _first(messages: list[str]) -> str:
    return messages[0] if messages else "it has none"


def _rows_about(path: Path) -> int:
    """Lines of a text table, rows of JSON by the size of the first ones: all that a bar needs."""
    from contraflow.facts.formats import rows_about

    if path.suffix.lower() == ".json":
        return rows_about(path)
    with path.open("rb") as file:
        return max(1, sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")))


def run_check(given: Given) -> int:
    """List the problems of a facts file, or what is in it."""
    from contraflow.facts.check import check_facts

    path = given.path("facts") or SHIPPED
    problems = check_facts(path)
    for problem in problems:
        print(problem)
    if problems:
        print(f"{path}: {len(problems)} problems", file=sys.stderr)
        return 1
    print(_summary(path, read_facts(path)))
    return 0


def _summary(path: Path, facts: list[Fact]) -> str:
    relations = {fact.relation for fact in facts if fact.relation}
    subjects = {fact.subject.casefold() for fact in facts}
    splits = split_facts(facts)
    sizes = ", ".join(f"{name} {len(part)}" for name, part in splits._asdict().items())
    return (
        f"{path}: no problems\n"
        f"  {len(facts)} facts, {len(subjects)} subjects, {len(relations)} relations\n"
        f"  splits: {sizes}"
    )


def run_filter_known(given: Given) -> int:
    """Ask the oracle every fact's plain question; keep those that it answers right."""
    from contraflow.settings.compose import compose_config

    source = given.path("facts")
    out = Path(given.needed("out")).expanduser()
    facts = read_facts(source or SHIPPED)
    check_out_file("out", out)
    config = _oracle_alone(compose_config(given.overrides, given.config_dir))
    check_prompts(config)
    check_models(config, ("sampler",))
    if not any(fact.original_answer for fact in facts):
        raise UserError(
            f"facts={source}: no fact has an original_answer, so nobody can tell what an oracle knows"
        )

    from contraflow.facts.known import known_facts
    from contraflow.run.build import load_lm, load_oracle
    from contraflow.system.progress import bar

    oracle = load_oracle(config, load_lm(config))
    with bar("asking the oracle", len(facts)) as progress:
        known = known_facts(facts, oracle, progress.advance)
    write_facts(out, known)
    print(
        f"kept {len(known)} facts in {out}; dropped {len(facts) - len(known)} that the oracle does not know"
    )
    return 0


def _oracle_alone(config: Config) -> Config:
    """The oracle's checkpoint in the place of the sampler's: only one model is loaded."""
    if config.oracle.name is None:
        return config
    model, oracle = (
        replace(config.model, name=config.oracle.name),
        replace(config.oracle, name=None),
    )
    return replace(config, model=model, oracle=oracle)


_FACTS_FORMAT = "JSONL of facts: one object a line with subject and edit_fact"

COMMANDS = (
    Command(
        name="data convert",
        summary="turn zsRE, CounterFact, MQuAKE, RippleEdits, KnowEdit or a table of your own into facts",
        about="""
        Writes one JSON object a fact. The format is told by the name of the file, and for JSON by the fields of its
        first row: zsre (MEND/ROME JSON, MEND's JSON lines, the prototype's pickle), counterfact, mquake (CF and T),
        rippleedits, knowedit; csv, jsonl and json are tables of your own. Files are streamed, so their size does
        not matter. Prompts that are left open, and questions, become statements (docs/data.md tells how).

        Fields that a table names otherwise are mapped: columns.subject=Entity reads the subject from the column
        Entity. Fields: subject and edit_fact (needed), fact_id, original_fact, relation, original_answer,
        edited_answer, question, aliases. A published format knows its fields; one that is unknown, missing or of
        another type stops the conversion by name, unless ignore=FIELD leaves it unread.

        A pickle is read without running anything in it.
        """,
        examples=(
            "contraflow data convert in=ZSRE_1000.pkl out=zsre.jsonl on_error=skip",
            "contraflow data convert in=counterfact.json out=counterfact.jsonl",
            "contraflow data convert in=MQuAKE-CF.json out=mquake.jsonl format=mquake on_error=skip",
            "contraflow data convert in=my.csv out=my.jsonl columns.subject=Entity columns.edit_fact=Claim",
        ),
        run=run_convert,
        arguments=(
            Argument("in", "FILE", "the table", required=True),
            Argument("out", "FILE", "the facts, as JSONL", required=True),
            Argument(
                "format",
                "NAME",
                "zsre, counterfact, mquake, rippleedits, knowedit, csv, jsonl or json (default: told by the file)",
            ),
            Argument("columns.", "NAME", "the column of a field, where it has another name"),
            Argument("ignore", "FIELD,…", "fields of a published format that may be left unread"),
            Argument(
                "on_error",
                "raise|skip",
                "at a bad row stop, or leave it out and say so",
                default="raise",
            ),
        ),
    ),
    Command(
        name="data check",
        summary="find duplicates, leaks, malformed rows and wrong types in a facts file",
        about="""
        Prints every problem as file:line: message and exits with 1; without problems prints what is in
        the file and how it will be split, and exits with 0.
        """,
        examples=("contraflow data check my_facts.jsonl", "contraflow data check"),
        run=run_check,
        arguments=(Argument("facts", "FILE", f"{_FACTS_FORMAT} (default: the shipped facts)"),),
        positional="facts",
    ),
    Command(
        name="data filter-known",
        summary="keep the facts that the oracle answers right to a plain question",
        about="""
        A fact that the oracle does not know cannot be contradicted by its answers: it only adds noise.
        Each fact's question (or its original_fact, left open) is asked once; the fact is kept if the
        answer names original_answer or an alias and not edited_answer. Facts without original_answer are
        dropped.
        """,
        examples=(
            "contraflow data filter-known facts=my_facts.jsonl out=known.jsonl",
            "contraflow data filter-known out=known.jsonl model=gpt2_large",
        ),
        run=run_filter_known,
        arguments=(
            Argument("facts", "FILE", f"{_FACTS_FORMAT} (default: the shipped facts)"),
            Argument("out", "FILE", "the facts that are kept", required=True),
        ),
        overrides="which oracle: model=smollm2 (default), model=gpt2, oracle=separate oracle.name=…, "
        "prompt.answer=…, oracle.batch_size=64",
    ),
)
