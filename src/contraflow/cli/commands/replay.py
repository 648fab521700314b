"""`contraflow replay`: put questions into a run's replay, look at it, take it out, empty it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.commands._output import sink
from contraflow.cli.commands._replay_target import (
    NAMESPACE,
    RUN,
    URL,
    seed_target,
    stores_of,
    url_of,
)
from contraflow.cli.early import check_models, check_out_file, check_prompts
from contraflow.errors import UserError
from contraflow.system.addresses import safe_url

if TYPE_CHECKING:
    from contraflow.replay import ReplayStore

LEFT_OUT_SHOWN = 5


def run_seed(given: Given) -> int:
    """Read the questions, score those without scores, admit."""
    from contraflow.facts import default_facts, read_facts, split_facts
    from contraflow.system.progress import bar

    config, folder = seed_target(given)
    source = given.path("facts") or (None if config.data.facts is None else Path(config.data.facts))
    facts = default_facts() if source is None else read_facts(source)
    check_prompts(config)
    from contraflow.run.import_questions import import_questions, read_questions

    questions = read_questions(Path(given.needed("questions")).expanduser(), facts)
    check_models(config)
    with bar("scoring questions", len(questions)) as progress:
        outcome = import_questions(config, folder, questions, progress.advance)
    print(
        f"{outcome.admitted} of {len(questions)} questions entered replay ({outcome.scored} scored, "
        f"{outcome.brought_scores} with the scores they came with, {len(outcome.left_out)} left out)"
    )
    trained_on = {fact.fact_id for fact in split_facts(facts).train}
    outside = sum(question.fact.fact_id not in trained_on for question in questions)
    if outside:
        print(
            f"  {outside} are about facts outside of the training split, which training never draws",
            file=sys.stderr,
        )
    for message in outcome.left_out[:LEFT_OUT_SHOWN]:
        print(f"  {message}", file=sys.stderr)
    if len(outcome.left_out) > LEFT_OUT_SHOWN:
        print(f"  … and {len(outcome.left_out) - LEFT_OUT_SHOWN} more", file=sys.stderr)
    return 0


def run_stats(given: Given) -> int:
    """What is stored, namespace by namespace."""
    with stores_of(given, "replay stats") as stores:
        rows = [survey(store) for store in stores]
    if given.text("json") == "true":
        print(json.dumps(rows, indent=2))
    elif not rows:
        print("no replay is stored there")
    for row in rows if given.text("json") != "true" else []:
        print(_told(row))
    return 0


def survey(store: ReplayStore) -> dict[str, Any]:
    """Counts of a store, in one pass over its entries."""
    facts: dict[str, int] = {}
    samplers: dict[str, int] = {}
    best, total, newest = -float("inf"), 0.0, 0
    for stored in store.entries():
        facts[stored.entry.fact_id] = facts.get(stored.entry.fact_id, 0) + 1
        sampler = stored.entry.sampler or "unknown"
        samplers[sampler] = samplers.get(sampler, 0) + 1
        best, total = max(best, stored.priority), total + stored.priority
        newest = max(newest, stored.entry.step)
    n, stats = sum(facts.values()), store.stats()
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


def _told(row: dict[str, Any]) -> str:
    place = f" at {row['url']}" if row["url"] else ""
    lines = [
        f"namespace {row['namespace']} ({row['store']}{place})",
        f"  {row['entries']} entries of {row['facts']} facts, at most {row['most_per_fact']} a fact; "
        f"{row['unreadable']} cannot be read",
    ]
    if row["entries"]:
        lines.append(
            f"  log-reward: best {row['best_log_reward']:.2f}, mean {row['mean_log_reward']:.2f}; "
            f"newest step {row['newest_step']}"
        )
        lines.append(
            "  written by " + ", ".join(f"{name}: {n}" for name, n in row["samplers"].items())
        )
    return "\n".join(lines)


def run_export(given: Given) -> int:
    """Every entry as one JSON object, which `replay seed` reads again."""
    import msgspec

    out = None if given.needed("out") == "-" else given.path("out")
    if out is not None:
        check_out_file("out", out)

    def lines() -> Iterator[bytes]:
        with stores_of(given, "replay export") as stores:
            for store in stores:
                namespace = store.stats()["namespace"]
                for stored in store.entries():
                    row = {**msgspec.to_builtins(stored.entry), "log_reward": stored.priority}
                    yield msgspec.json.encode({**row, "namespace": namespace}) + b"\n"

    count = 0
    with sink(out) as file:
        for line in lines():
            file.write(line)
            count += 1
    if out is not None:
        print(f"wrote {count} questions to {out}")
    return 0


def run_clear(given: Given) -> int:
    """Empty one store; of a server with several experiments only the one that is named."""
    folder = given.path("run")
    if folder is None and (url := url_of(given)) is not None and given.text("namespace") is None:
        from contraflow.replay.found import namespaces

        found = namespaces(url)
        if len(found) > 1:
            raise UserError(
                f"url={safe_url(url)} holds the replay of {len(found)} experiments; say which with "
                f"namespace=… ({', '.join(found)})"
            )
    with stores_of(given, "replay clear") as stores:
        for store in stores:
            stats = store.stats()
            if stats["store"] == "memory":
                raise UserError(
                    f"run={folder}: its replay is in the memory of its process and in its checkpoint; "
                    "train under another name to start without it"
                )
            store.clear()
            print(
                f"removed {stats['size']} entries of {stats['facts']} facts (namespace {stats['namespace']})"
            )
    if folder is not None and (folder / "checkpoints" / "last.ckpt").is_file():
        print(
            "  the run's checkpoint has a copy: to resume the run brings it back", file=sys.stderr
        )
    return 0


COMMANDS = (
    Command(
        name="replay seed",
        summary="put questions of your own into replay, scored by the run's oracle and judge",
        about="""
        Each line of the file is one object with question and fact_id (or subject, where only one fact has
        it). Questions are answered by the oracle, compared by the judge and weighed by the base model, as
        the sampler's own are; lines of `contraflow replay export` from the same experiment keep the scores
        they have. Every question is then admitted or not by its reward. A question that the sampler could
        not write (too short, too long, other characters) is left out and told.

        A run that is going sees them at once. A folder that is no run yet becomes one when it is trained
        with the same settings; a run keeps what was seeded when it is resumed.
        """,
        examples=(
            "contraflow replay seed questions.jsonl run=runs/quickstart",
            "contraflow replay seed questions.jsonl url=redis://host:6379/0 facts=my_facts.jsonl model=gpt2",
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
        overrides="for url= and for a folder that is no run yet: the settings that the run will have, such as "
        "model=gpt2, judge=…, policy.max_question_len=18; a run keeps its own",
    ),
    Command(
        name="replay stats",
        summary="what a replay holds: entries, facts, rewards, who wrote them, what cannot be read",
        about="""
        Of a run whose replay is in memory, what its last checkpoint holds; else what is stored now, also
        while the run is going. With url= every experiment on the server, each under its namespace: a hash
        of prompt, tokenizer, oracle and judge.
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
            Argument("json", "true|false", "as JSON", default="false", flag=True),
        ),
        positional="run",
    ),
    Command(
        name="replay export",
        summary="write what a replay holds as JSONL, which `replay seed` reads again",
        about="""
        One object an entry: fact_id, question with its token ids, answer, every raw reward part, the
        sampler and step that wrote it, its untempered log_reward and its namespace. Entries that cannot be
        read are left out and told.
        """,
        examples=("contraflow replay export run=runs/quickstart out=found.jsonl",),
        run=run_export,
        arguments=(
            RUN,
            URL,
            NAMESPACE,
            Argument("out", "FILE", "where they go; - is standard output", default="-"),
        ),
        positional="run",
    ),
    Command(
        name="replay clear",
        summary="remove every entry of one experiment, and of no other",
        about="""
        With url=, a server that holds several experiments needs namespace= as well. A checkpoint keeps its
        own copy, which resuming brings back.
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
