"""`contraflow replay`: import, inspect, export and remove the questions of a run's replay."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._output import open_output, out_file
from contraflow.cli.commands._replay_target import (
    NAMESPACE,
    RUN,
    URL,
    seed_target,
    target_stores,
    target_url,
)
from contraflow.cli.preflight import check_models, check_prompts, check_replay
from contraflow.errors import UserError
from contraflow.system.addresses import safe_url

if TYPE_CHECKING:
    from contraflow.replay import ReplayStore

MAX_MESSAGES = 5


def run_seed(args: ParsedArguments) -> int:
    """Read the questions, score those without scores, admit them to replay."""
    from contraflow.facts import default_facts, read_facts, split_facts
    from contraflow.system.progress import bar

    config, folder = seed_target(args)
    source = args.path("facts")
    if source is None and config.data.facts is not None:
        source = Path(config.data.facts)
    facts = default_facts() if source is None else read_facts(source)
    check_prompts(config)
    check_replay(config)
    from contraflow.run.import_questions import import_questions, read_questions

    questions = read_questions(args.required_path("questions"), facts)
    check_models(config)
    with bar("scoring questions", len(questions)) as progress:
        outcome = import_questions(config, folder, questions, progress.advance)
    print(
        f"{outcome.admitted} of {len(questions)} questions entered replay "
        f"({outcome.scored} scored, {outcome.brought_scores} with the scores they came with, "
        f"{len(outcome.left_out)} left out)"
    )
    refused = outcome.scored + outcome.brought_scores - outcome.admitted
    if refused:
        print(
            f"  {refused} did not enter: they are there already, are too like another one, or pay "
            "less than what fills their fact's room",
            file=sys.stderr,
        )
    train = set(split_facts(facts).train)
    outside = sum(question.fact not in train for question in questions)
    if outside:
        print(
            f"  {outside} are about facts outside of the training split, which training never uses",
            file=sys.stderr,
        )
    for message in outcome.left_out[:MAX_MESSAGES]:
        print(f"  {message}", file=sys.stderr)
    if len(outcome.left_out) > MAX_MESSAGES:
        print(f"  … and {len(outcome.left_out) - MAX_MESSAGES} more", file=sys.stderr)
    return 0


def run_stats(args: ParsedArguments) -> int:
    """Print the counts of each namespace."""
    as_json = args.boolean("json")
    with target_stores(args, "replay stats") as stores:
        rows = [survey(store) for store in stores]
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    if not rows:
        print("no replay is stored there")
    for row in rows:
        print(_as_text(row))
    return 0


def survey(store: ReplayStore) -> dict[str, Any]:
    """Counts and rewards of a store, from one pass over its entries."""
    facts: Counter[str] = Counter()
    samplers: Counter[str] = Counter()
    best = -float("inf")
    total = 0.0
    newest = 0
    for stored in store.entries():
        facts[stored.scored.fact_key] += 1
        samplers[stored.scored.sampler or "unknown"] += 1
        best = max(best, stored.priority)
        total += stored.priority
        newest = max(newest, stored.scored.step)
    n = facts.total()
    stats = store.stats()
    return {
        "namespace": stats["namespace"],
        "store": stats["store"],
        "url": stats.get("url"),
        "entries": n,
        "unreadable": stats["skipped"],
        "facts": len(facts),
        "most_per_fact": max(facts.values(), default=0),
        "best_log_reward": best if n else None,
        "mean_log_reward": total / n if n else None,
        "newest_step": newest,
        "samplers": dict(sorted(samplers.items())),
    }


def _as_text(row: dict[str, Any]) -> str:
    place = f" at {row['url']}" if row["url"] else ""
    lines = [
        f"namespace {row['namespace']} ({row['store']}{place})",
        f"  {row['entries']} entries of {row['facts']} facts, "
        f"at most {row['most_per_fact']} per fact; {row['unreadable']} cannot be read",
    ]
    if row["entries"]:
        samplers = ", ".join(f"{name}: {n}" for name, n in row["samplers"].items())
        lines.append(
            f"  log-reward: best {row['best_log_reward']:.2f}, mean {row['mean_log_reward']:.2f}; "
            f"newest step {row['newest_step']}"
        )
        lines.append(f"  written by {samplers}")
    return "\n".join(lines)


def run_export(args: ParsedArguments) -> int:
    """Write every entry as one JSON object, which `replay seed` can read.

    Raises: UserError where there is no entry for a file, which stays as it was.
    """
    out = out_file(args)
    count = 0
    with open_output(out) as file:
        for line in _export_lines(args):
            file.write(line)
            count += 1
        if count == 0 and out is not None:
            raise UserError(f"out={out}: not written, as no question is stored there")
    if out is not None:
        print(f"wrote {count} questions to {out}")
    return 0


def _export_lines(args: ParsedArguments) -> Iterator[bytes]:
    import msgspec

    with target_stores(args, "replay export") as stores:
        for store in stores:
            namespace = store.stats()["namespace"]
            for stored in store.entries():
                row = msgspec.to_builtins(stored.scored)
                row["log_reward"] = stored.priority
                row["namespace"] = namespace
                yield msgspec.json.encode(row) + b"\n"


def run_clear(args: ParsedArguments) -> int:
    """Empty one store; a server with several experiments needs a namespace."""
    folder = args.path("run")
    url = target_url(args)
    if folder is None and url is not None and args.text("namespace") is None:
        from contraflow.replay.existing import namespaces

        found = namespaces(url)
        if len(found) > 1:
            raise UserError(
                f"url={safe_url(url)} holds the replay of {len(found)} experiments; "
                f"choose one with namespace=… ({', '.join(found)})"
            )
    with target_stores(args, "replay clear") as stores:
        for store in stores:
            stats = store.stats()
            if stats["store"] == "memory":
                raise UserError(
                    f"run={folder}: its replay is in the memory of its process and in its "
                    "checkpoint; train under another name to start without it"
                )
            store.clear()
            print(
                f"removed {stats['size']} entries of {stats['facts']} facts "
                f"(namespace {stats['namespace']})"
            )
    if folder is not None and (folder / "checkpoints" / "last.ckpt").is_file():
        print("  the run's checkpoint has a copy: resuming the run restores it", file=sys.stderr)
    return 0


COMMANDS = (
    Command(
        name="replay seed",
        summary="import questions of your own into replay, scored by the run's oracle and judge",
        description="""
        Each line of the file is one object with question and fact_id (or subject, if only one fact
        has it). Questions are scored like the sampler's own: the oracle answers, the judge compares
        answer and fact, the base model gives the likelihood. Lines of `contraflow replay export`
        from the same models and prompts keep their scores, unless the fact has been changed. The
        reward of a question then decides whether replay admits it. A question that the sampler
        could not write (too short, too long, other characters) is left out and reported.

        A run in progress sees the questions at once. A folder without a run can be seeded first;
        train there with the same settings. A run keeps seeded questions when it is resumed.
        """,
        examples=(
            "contraflow replay seed questions.jsonl run=runs/quickstart",
            "contraflow replay seed questions.jsonl url=redis://host:6379/0 facts=my_facts.jsonl "
            "model=gpt2",
        ),
        run=run_seed,
        arguments=(
            Argument(
                "questions", "FILE", "JSONL with question and fact_id or subject", required=True
            ),
            RUN,
            URL,
            Argument(
                "facts", "FILE", "the facts (default: those of the run, else the shipped ones)"
            ),
        ),
        positional="questions",
        overrides=(
            "for url= and for a folder without a run: the settings that the run will have, such as "
            "model=gpt2, judge=…, policy.max_question_len=18; a run keeps its own"
        ),
    ),
    Command(
        name="replay stats",
        summary="counts of a replay: entries, facts, rewards, samplers, unreadable entries",
        description="""
        Shows what is stored now, also while a run is in progress; for a run whose replay is in
        memory, what its last checkpoint holds. With url= it shows every experiment on the server
        under its namespace: a hash of prompt, tokenizer, oracle and judge, and one of the reward
        settings that order its entries.
        """,
        examples=(
            "contraflow replay stats run=runs/quickstart",
            "contraflow replay stats url=redis://host:6379/0",
        ),
        run=run_stats,
        arguments=(
            RUN,
            URL,
            NAMESPACE,
            Argument("json", "true|false", "print JSON", default="false", flag=True),
        ),
        positional="run",
    ),
    Command(
        name="replay export",
        summary="write the entries of a replay as JSONL, which `replay seed` can read",
        description="""
        Writes one object per entry: fact_id and the hash of the fact's fields, question with its
        token ids, answer, every raw reward part, the sampler and step that wrote it, its untempered
        log_reward and its namespace.
        Entries that cannot be read are left out and reported.
        """,
        examples=("contraflow replay export run=runs/quickstart out=found.jsonl",),
        run=run_export,
        arguments=(
            RUN,
            URL,
            NAMESPACE,
            Argument("out", "FILE", "file for the entries; - is standard output", default="-"),
        ),
        positional="run",
    ),
    Command(
        name="replay clear",
        summary="remove every entry of one experiment, and of no other",
        description="""
        With url=, a server that holds several experiments needs namespace= as well. A checkpoint
        keeps its own copy, which resuming restores.
        """,
        examples=(
            "contraflow replay clear run=runs/quickstart",
            "contraflow replay clear url=redis://host:6379/0 namespace=NAME",
        ),
        run=run_clear,
        arguments=(RUN, URL, NAMESPACE),
        positional="run",
    ),
)
