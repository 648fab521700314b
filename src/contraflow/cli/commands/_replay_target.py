"""Which replay a command means: a run's own, wherever that is kept, or what a server holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from contraflow.cli.command import Argument, Given
from contraflow.errors import UserError

if TYPE_CHECKING:
    from contraflow.replay import ReplayStore
    from contraflow.settings import Config

_URL_VARIABLE = "CONTRAFLOW_REPLAY_URL"

RUN = Argument("run", "FOLDER", "a run: its replay, wherever that is kept")
URL = Argument(
    "url",
    "URL",
    f"a server, as in replay.url=…; a password is safer in {_URL_VARIABLE} in the environment",
)
NAMESPACE = Argument("namespace", "NAME", "with url=: one experiment of those on the server")


def seed_target(given: Given) -> tuple[Config, Path | None]:
    """The settings that questions are scored with, and the run's folder where there is one."""
    from contraflow.settings.compose import compose_config

    folder, url = given.path("run"), url_of(given)
    if folder is None and url is None:
        raise _no_target("replay seed", "questions.jsonl ")
    if folder is not None and (folder / "config.yaml").is_file():
        if given.overrides:
            raise UserError(
                f"{given.overrides[0]}: a run keeps the settings it was trained with; leave it out"
            )
        config = _config_of(folder)
    elif folder is not None:
        words = (
            ("replay=embedded",) if url is None else ("replay=redis", "replay.url=redis://given")
        )
        config = replace(
            compose_config((*words, *given.overrides), given.config_dir), run_dir=str(folder)
        )
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
    return (
        config
        if url is None
        else replace(config, replay=replace(config.replay, store="redis", url=url))
    )


def _config_of(folder: Path) -> Config:
    from contraflow.run.session import read_run_config

    return read_run_config(folder)


def url_of(given: Given) -> str | None:
    """From the command line, or from the environment, where no list of processes shows it."""
    return given.text("url") or (
        os.environ.get(_URL_VARIABLE) if given.path("run") is None else None
    )


def _no_target(name: str, before: str = "") -> UserError:
    return UserError(
        f"{name} needs run=FOLDER or url=URL (or {_URL_VARIABLE} in the environment); for example: "
        f"contraflow {name} {before}run=runs/quickstart"
    )


@contextmanager
def stores_of(given: Given, name: str) -> Iterator[Iterator[ReplayStore]]:
    """The stores that a command means: a run's own, or one for each namespace on a server."""
    folder, url = given.path("run"), url_of(given)
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
        raise UserError(
            f"run={folder}: no such run folder; give one that `contraflow train` has written"
        )
    from contraflow.replay import found

    saved = (folder / "config.yaml").is_file()
    config = _config_of(folder) if saved else None
    if config is not None and config.replay.store == "memory":
        return found.in_checkpoint(folder)
    namespace = found.noted_namespace(folder)
    if namespace is None:
        raise UserError(f"run={folder}: has no replay yet (no replay.json); train or seed it first")
    address = (
        url or os.environ.get(_URL_VARIABLE) or (config.replay.url if config is not None else None)
    )
    if config is not None and config.replay.store == "redis" and address:
        return found.open_url(address, namespace)
    if not (folder / "replay").is_dir():
        raise UserError(f"run={folder}: its replay is on a server; add url=…")
    return found.open_embedded(folder, namespace)
