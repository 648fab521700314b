"""`contraflow replay`: put questions into a run's replay, look at it, take it out, empty it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contraflow.addresses import safe_url
from contraflow.cli.command import Argument, Command, Given
from contraflow.cli.early import check_models, check_out_file, check_prompts
from contraflow.errors import UserError

if TYPE_CHECKING:
    from contraflow.config import Config
    from contraflow.replay import ReplayStore

LEFT_OUT_SHOWN = 5
_URL_VARIABLE = "CONTRAFLOW_REPLAY_URL"


def run_seed(given: Given) -> int:
    """Read the questions, score those without scores, admit."""
    from contraflow.facts import default_facts, read_facts, split_facts
    from contraflow.progress import bar

    config, folder = _seed_target(given)
    source = given.path("facts") or (None if config.data.facts is None else Path(config.data.facts))
    facts = default_facts() if source is None else read_facts(source)
    check_prompts(config)
    from contraflow.replay_seed import read_seeds, seed

    seeds = read_seeds(Path(given.needed("questions")).expanduser(), facts)
    check_models(config)
    with bar("scoring questions", len(seeds)) as progress:
        outcome = seed(config, folder, seeds, progress.advance)
    print(
        f"{outcome.admitted} of {len(seeds)} questions entered replay ({outcome.scored} scored, "
        f"{outcome.brought_scores} with the scores they came with, {len(outcome.left_out)} left out)"
    )
    trained_on = {fact.fact_id for fact in split_facts(facts).train}
    outside = sum(one.fact.fact_id not in trained_on for one in seeds)
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


def _seed_target(given: Given) -> tuple[Config, Path | None]:
    """The settings that questions are scored with, and the run's folder where there is one."""
    from contraflow.cli.compose import compose_config

    folder, url = given.path("run"), _url(given)
    if folder is None and url is None:
        raise _no_target("replay seed", "questions.jsonl ")
    if folder is not None and (folder / "config.yaml").is_file():
        if given.overrides:
            raise UserError(
                f"{given.overrides[0]}: a run keeps the settings it was trained with; leave it out"
            )
        config = _config_of(folder)
    elif folder is not None:
        words = ("replay=embedded",) if url is None else ("replay=redis", "replay.url=redis://given")
        config = replace(compose_config((*words, *given.overrides), given.config_dir), run_dir=str(folder))
    else:
        words = ("replay=redis", "replay.url=redis://given")
        config = compose_config((*words, *given.overrides), given.config_dir)
    if config.replay.store == "redis" and url is not None:
        config = replace(config, replay=replace(config.replay, url=url))
    if folder is not None and config.replay.store == "embedded":
        config = _through_running_server(config, folder)
    if config.replay.store == "memory":
        raise UserError(
            f"run={folder}: its replay is in the memory of its process, where nothing can be put in from outside; "
            "train with replay=embedded or replay=redis"
        )
    return config, folder


def _through_running_server(config: Config, folder: Path) -> Config:
    from contraflow.replay.embedded import running_server

    url = running_server(folder)
    return config if url is None else replace(config, replay=replace(config.replay, store="redis", url=url))


def _config_of(folder: Path) -> Config:
    from contraflow.runs import read_run_config

    return read_run_config(folder)


def _url(given: Given) -> str | None:
    """From the command line, or from the environment, where no list of processes shows it."""
    return given.text("url") or (os.environ.get(_URL_VARIABLE) if given.path("run") is None else None)


def _no_target(name: str, before: str = "") -> UserError:
    return UserError(
        f"{name} needs run=FOLDER or url=URL (or {_URL_VARIABLE} in the environment); for example: "
        f"contraflow {name} {before}run=runs/quickstart"
    )


@contextmanager
def _stores(given: Given, name: str) -> Iterator[Iterator[ReplayStore]]:
    """The stores that a command means: a run's own, or one for each namespace on a server."""
    folder, url = given.path("run"), _url(given)
    if folder is None and url is None:
        raise _no_target(name)
    wanted = given.text("namespace")

    def opened() -> Iterator[ReplayStore]:
        if folder is not None:
            with _of_run(folder, url) as store:
                yield store
            return
        from contraflow.replay.found import namespaces, open_url

        assert url is not None
        found = namespaces(url)
        if wanted is not None and wanted not in found:
            known = ", ".join(found) or "none"
            raise UserError(f"namespace={wanted}: not on this server; there is {known}")
        for namespace in found:
            if wanted in (None, namespace):
                with open_url(url, namespace) as store:
                    yield store

    yield opened()


def _of_run(folder: Path, url: str | None) -> ReplayStore:
    """The store of a run's folder, without loading its models."""
    if not folder.is_dir():
        raise UserError(f"run={folder}: no such run folder; give one that `contraflow train` has written")
    from contraflow.replay import found

    saved = (folder / "config.yaml").is_file()
    config = _config_of(folder) if saved else None
    if config is not None and config.replay.store == "memory":
        return found.in_checkpoint(folder)
    namespace = found.noted_namespace(folder)
    if namespace is None:
        raise UserError(f"run={folder}: has no replay yet (no replay.json); train or seed it first")
    address = url or os.environ.get(_URL_VARIABLE) or (config.replay.url if config is not None else None)
    if config is not None and config.replay.store == "redis" and address:
        return found.open_url(address, namespace)
    if not (folder / "replay").is_dir():
        raise UserError(f"run={folder}: its replay is on a server; add url=…")
    return found.open_embedded(folder, namespace)


def run_stats(given: Given) -> int:
    """What is stored, namespace by namespace."""
    with _stores(given, "replay stats") as stores:
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
        lines.append("  written by " + ", ".join(f"{name}: {n}" for name, n in row["samplers"].items()))
    return "\n".join(lines)


def run_export(given: Given) -> int:
    """Every entry as one JSON object, which `replay seed` reads again."""
    import msgspec

    out = None if given.needed("out") == "-" else given.path("out")
    if out is not None:
        check_out_file("out", out)

    def lines() -> Iterator[bytes]:
        with _stores(given, "replay export") as stores:
            for store in stores:
                namespace = store.stats()["namespace"]
                for stored in store.entries():
                    row = {**msgspec.to_builtins(stored.entry), "log_reward": stored.priority}
                    yield msgspec.json.encode({**row, "namespace": namespace}) + b"\n"

    if out is None:
        sys.stdout.buffer.writelines(lines())
        sys.stdout.buffer.flush()
        return 0
    print(f"wrote {_write_lines(out, lines())} questions to {out}")
    return 0


def _write_lines(out: Path, lines: Iterator[bytes]) -> int:
    """One after another, because a shared buffer may not fit into memory; renamed at the end."""
    scratch, count = out.with_name(f".{out.name}.{os.getpid()}.tmp"), 0
    try:
        with scratch.open("wb") as file:
            for line in lines:
                file.write(line)
                count += 1
        scratch.replace(out)
    finally:
        scratch.unlink(missing_ok=True)
    return count


def run_clear(given: Given) -> int:
    """Empty one store; of a server with several experiments only the one that is named."""
    folder = given.path("run")
    if folder is None and (url := _url(given)) is not None and given.text("namespace") is None:
        from contraflow.replay.found import namespaces

        found = namespaces(url)
        if len(found) > 1:
            raise UserError(
                f"url={safe_url(url)} holds the replay of {len(found)} experiments; say which with "
                f"namespace=… ({', '.join(found)})"
            )
    with _stores(given, "replay clear") as stores:
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
        print("  the run's checkpoint has a copy: to resume the run brings it back", file=sys.stderr)
    return 0


_RUN = Argument("run", "FOLDER", "a run: its replay, wherever that is kept")
_URL = Argument(
    "url", "URL", f"a server, as in replay.url=…; a password is safer in {_URL_VARIABLE} in the environment"
)
_NAMESPACE = Argument("namespace", "NAME", "with url=: one experiment of those on the server")

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
            Argument("questions", "FILE", "JSONL with question and fact_id or subject", required=True),
            _RUN,
            _URL,
            Argument("facts", "FILE", "the facts (default: those of the run, else the shipped ones)"),
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
            _RUN,
            _URL,
            _NAMESPACE,
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
            _RUN,
            _URL,
            _NAMESPACE,
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
        arguments=(_RUN, _URL, _NAMESPACE),
        positional="run",
    ),
)
