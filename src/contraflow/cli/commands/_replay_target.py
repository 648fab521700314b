"""The replay that a command works on: that of a run, or what a server holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, ParsedArguments
from contraflow.errors import UserError
from contraflow.system.addresses import safe_url

if TYPE_CHECKING:
    from contraflow.replay import ReplayStore
    from contraflow.settings import Config

_URL_VARIABLE = "CONTRAFLOW_REPLAY_URL"
# The address is a placeholder: the real one is inserted afterwards, without Hydra's grammar.
_REDIS_OVERRIDES = ("replay=redis", "replay.url=redis://given")

RUN = Argument(
    "run", "FOLDER", "a run folder; its replay can be in memory, embedded or on a server"
)
URL = Argument(
    "url",
    "URL",
    f"a server, as in replay.url=…; a password is safer in {_URL_VARIABLE} in the environment",
)
NAMESPACE = Argument("namespace", "NAME", "with url=: one of the experiments on the server")


def seed_target(args: ParsedArguments) -> tuple[Config, Path | None]:
    """The settings to score questions with, and the folder of the run, if one is given.

    Raises: UserError without a target, and for a run whose replay is in memory.
    """
    folder = args.path("run")
    url = target_url(args)
    if folder is None and url is None:
        raise _no_target("replay seed", "questions.jsonl ")
    config = _seed_config(args, folder, url)
    if folder is not None:
        _refuse_useless_url(folder, config.replay.store, url)
    if config.replay.store == "redis" and url is not None:
        config = _with_replay(config, "redis", url)
    if folder is not None and config.replay.store == "embedded":
        config = _through_running_server(config, folder)
    if config.replay.store == "memory":
        raise UserError(
            f"run={folder}: its replay is in the memory of its process, where no question can be "
            "put in from outside; train with replay=embedded or replay=redis"
        )
    return config, folder


def _seed_config(args: ParsedArguments, folder: Path | None, url: str | None) -> Config:
    """The settings of the run, or those composed for a folder or server that has no run yet."""
    from contraflow.settings.compose import compose_config

    if folder is not None and (folder / "config.yaml").is_file():
        if args.overrides:
            raise UserError(
                f"{args.overrides[0]}: a run keeps the settings it was trained with; leave it out"
            )
        return _run_config(folder)
    store = ("replay=embedded",) if url is None else _REDIS_OVERRIDES
    config = compose_config((*store, *args.overrides), args.config_dir)
    return config if folder is None else replace(config, run_dir=str(folder))


def _through_running_server(config: Config, folder: Path) -> Config:
    """Use the embedded server of a run that is in progress, if it answers."""
    from contraflow.replay.embedded import running_server

    url = running_server(folder)
    return config if url is None else _with_replay(config, "redis", url)


def _refuse_useless_url(folder: Path, store: str, url: str | None) -> None:
    """Raises: UserError for a URL beside a run whose replay is not on a server."""
    if url is not None and store != "redis":
        where = "in memory" if store == "memory" else "in its own folder"
        raise UserError(
            f"url={safe_url(url)}: the replay of run={folder} is {where} (replay.store={store}); "
            "leave url= or run= out"
        )


def _with_replay(config: Config, store: str, url: str) -> Config:
    return replace(config, replay=replace(config.replay, store=store, url=url))


def _run_config(folder: Path) -> Config:
    from contraflow.run.session import read_run_config

    return read_run_config(folder)


def target_url(args: ParsedArguments) -> str | None:
    """The URL of the command line, or without run= that of the environment.

    The environment keeps a password out of the list of processes.
    """
    url = args.text("url")
    if url is None and args.path("run") is None:
        url = os.environ.get(_URL_VARIABLE)
    return url


def _no_target(name: str, first_words: str = "") -> UserError:
    return UserError(
        f"{name} needs run=FOLDER or url=URL (or {_URL_VARIABLE} in the environment); "
        f"for example: contraflow {name} {first_words}run=runs/quickstart"
    )


@contextmanager
def target_stores(args: ParsedArguments, name: str) -> Iterator[Iterator[ReplayStore]]:
    """The stores of a command: that of the run, or one per namespace on the server.

    Each store is open until the next one is taken. Raises: UserError without a target.
    """
    folder = args.path("run")
    url = target_url(args)
    if folder is not None:
        namespace = args.text("namespace")
        if namespace is not None:
            raise UserError(
                f"namespace={namespace}: run={folder} has one of its own; leave namespace= or run= "
                "out"
            )
        yield _run_stores(folder, url)
    elif url is not None:
        yield _server_stores(url, args.text("namespace"))
    else:
        raise _no_target(name)


def _run_stores(folder: Path, url: str | None) -> Iterator[ReplayStore]:
    with _open_run_store(folder, url) as store:
        yield store


def _server_stores(url: str, wanted: str | None) -> Iterator[ReplayStore]:
    from contraflow.replay.existing import namespaces, open_url

    found = namespaces(url)
    if wanted is not None and wanted not in found:
        known = ", ".join(found) or "none"
        raise UserError(f"namespace={wanted}: not on this server; there is {known}")
    for namespace in found:
        if wanted in (None, namespace):
            with open_url(url, namespace) as store:
                yield store


def _open_run_store(folder: Path, url: str | None) -> ReplayStore:
    """Open the store of a run's folder without loading its models. Raises: UserError."""
    if not folder.is_dir():
        raise UserError(
            f"run={folder}: no such run folder; give one that `contraflow train` has written"
        )
    from contraflow.replay import existing

    config = _run_config(folder) if (folder / "config.yaml").is_file() else None
    has_own = (folder / "replay").is_dir()
    # A folder that was only seeded has no settings yet.
    store = config.replay.store if config is not None else "embedded" if has_own else "redis"
    _refuse_useless_url(folder, store, url)
    if store == "memory":
        return existing.in_checkpoint(folder)
    namespace = existing.recorded_namespace(folder)
    if namespace is None:
        raise UserError(f"run={folder}: has no replay yet (no replay.json); train or seed it first")
    if store == "redis":
        of_run = None if config is None else config.replay.url
        address = url or os.environ.get(_URL_VARIABLE) or of_run
        if address:
            return existing.open_url(address, namespace)
    if not has_own:
        raise UserError(f"run={folder}: its replay is on a server; add url=…")
    return existing.open_embedded(folder, namespace)
