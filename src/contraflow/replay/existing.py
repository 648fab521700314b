"""Open an existing store without a model: by the folder of a run or by the URL of a server."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from contraflow.errors import UserError
from contraflow.replay.base import ReplayStore, is_namespace
from contraflow.replay.codec import PayloadError, snapshot_namespace
from contraflow.replay.memory import MemoryReplay
from contraflow.settings.running import ReplayConfig
from contraflow.system.checkpoint_file import read_checkpoint

_NAMESPACE_FILE = "replay.json"
# Reads everything that is stored, and does not wait for a server that is unavailable.
_READ_ALL = ReplayConfig(capacity_per_fact=2**31, near_duplicate=0.0, patience_s=0)


class _NamespaceRecord(msgspec.Struct):
    namespace: str


def record_namespace(folder: Path, namespace: str) -> None:
    """Write the namespace of a run's entries into its folder.

    Without this file, computing the namespace again would need the models.
    """
    from contraflow.system.files import write_atomically

    write_atomically(folder / _NAMESPACE_FILE, json.dumps({"namespace": namespace}).encode())


def recorded_namespace(folder: Path) -> str | None:
    """What `record_namespace` wrote, or None. Raises `UserError` where it cannot be read."""
    path = folder / _NAMESPACE_FILE
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_NamespaceRecord).namespace
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: is not what a run writes ({error}); delete it and start the run again"
        ) from None


def open_url(url: str, namespace: str) -> ReplayStore:
    """The entries of one namespace on a server."""
    from contraflow.replay.redis import RedisReplay

    return RedisReplay(namespace, _READ_ALL, url)


def open_embedded(folder: Path, namespace: str) -> ReplayStore:
    """The entries in a run's folder, also while the run is in progress and owns the server."""
    from contraflow.replay.embedded import EmbeddedReplay, running_server

    url = running_server(folder)
    if url is not None:
        return open_url(url, namespace)
    return EmbeddedReplay(namespace, _READ_ALL, folder)


def in_checkpoint(folder: Path) -> ReplayStore:
    """A copy of a run's memory stores, those of all its ranks, as of its last checkpoint."""
    path = folder / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise UserError(
            f"run={folder}: its replay is in memory and there is no checkpoint of it yet"
        )
    content = read_checkpoint(path)
    parts = [content["replay"], *content.get("replay_of_others", ())]
    snapshots = [part.numpy().tobytes() for part in parts]
    try:
        store = MemoryReplay(snapshot_namespace(snapshots[0]), _READ_ALL)
        for snapshot in filter(None, snapshots):
            store.merge(snapshot)
    except PayloadError as error:
        raise UserError(f"{path}: holds no replay of this version ({error})") from None
    return store


def namespaces(url: str) -> list[str]:
    """The namespaces that have entries on a server. Raises `UserError` where it cannot be used."""
    from contraflow.replay.connection import Server
    from contraflow.replay.redis import KEY_ROOT

    server = Server(url, patience_s=0, log=lambda _: None, remedy="start it or correct the URL")
    try:
        keys = server.call(
            lambda: list(server.client.scan_iter(match=f"{KEY_ROOT}*:facts", count=1000))
        )
    finally:
        server.close()
    names: set[str] = set()
    for key in keys:
        name = key.decode(errors="replace").removeprefix(KEY_ROOT)[1:].partition("}")[0]
        if is_namespace(name):  # any other name was planted: no run can have written it
            names.add(name)
    return sorted(names)
