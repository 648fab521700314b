"""Ray: start it on this machine or join a cluster, and see whether the actors have room.

Ray's own processes pickle what they send one another. Whoever can reach the ports of a cluster can
run code on it, unless it asks for a token (Ray's `RAY_AUTH_MODE`). What is started here asks for a
random token that only this run knows.
"""

from __future__ import annotations

import math
import os
import platform
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from contraflow.actors.checks import check_actors
from contraflow.errors import UserError, on_one_line
from contraflow.settings import Config
from contraflow.settings.running import ExchangeConfig
from contraflow.system.progress import print_line

# Ray's least is 75 MiB; a version of the adapter has a few megabytes, and few are kept.
_OBJECT_STORE_BYTES = 256 * 2**20
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no report to Ray's makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


@contextmanager
def joined_cluster(config: Config) -> Iterator[None]:
    """Join a Ray cluster for the block, or start one; does nothing for another kind of exchange.

    Raises: UserError where there is no Ray, nobody answers, the cluster has another version or no
        room, or replay cannot be reached from its machines.
    """
    if config.exchange.kind != "actors":
        yield
        return
    check_actors(config)
    with _environment(_QUIET | _secured(config.exchange)), _connection(config.exchange):
        _check_cluster(config)
        yield


def _check_cluster(config: Config) -> None:
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    here = ray.util.get_node_ip_address()
    elsewhere = [node for node in nodes if node["NodeManagerAddress"] != here]
    if config.replay.store == "embedded" and elsewhere:
        raise UserError(
            f"replay=embedded serves this machine only, and the Ray cluster has {len(nodes)}; use "
            "replay=redis replay.url=redis://HOST:PORT/0"
        )
    check_room(config.exchange, [node["Resources"] for node in nodes])


def check_room(exchange: ExchangeConfig, nodes: list[Mapping[str, float]]) -> None:
    """Check that actors fit on nodes with these resources.

    Raises: UserError naming how many fit.
    """
    room = sum(room_on(node, exchange) for node in nodes)
    if room < exchange.actors:
        cpus = sum(node.get("CPU", 0) for node in nodes)
        gpus = sum(node.get("GPU", 0) for node in nodes)
        raise UserError(
            f"exchange.actors={exchange.actors}: the Ray cluster has room for {room} "
            f"({cpus:g} CPUs and {gpus:g} GPUs on {len(nodes)} "
            f"{'machine' if len(nodes) == 1 else 'machines'}, exchange.actor_cpus="
            f"{exchange.actor_cpus:g} and exchange.actor_gpus={exchange.actor_gpus:g} for each); "
            "lower one of the three, or add machines"
        )


def room_on(node: Mapping[str, float], exchange: ExchangeConfig) -> int:
    """How many actors fit on a node; a share of a GPU is a share of one GPU."""
    rooms = [_times(node.get("CPU", 0.0), exchange.actor_cpus)]
    share = exchange.actor_gpus
    if share > 0:
        gpus = node.get("GPU", 0.0)
        rooms.append(_times(gpus, share) if share >= 1 else int(gpus) * _times(1.0, share))
    return min(rooms)


def _times(have: float, each: float) -> int:
    return math.floor(have / each + 1e-9)


@contextmanager
def _connection(exchange: ExchangeConfig) -> Iterator[None]:
    import ray

    start = _start if exchange.address is None else _join
    terminate = signal.getsignal(signal.SIGTERM)
    clean = _call(lambda: start(exchange), exchange)
    try:
        # Ray's own handler would end the process with exit code 15.
        signal.signal(signal.SIGTERM, terminate or signal.SIG_DFL)
        yield
    finally:
        ray.shutdown()
        clean()


def _start(exchange: ExchangeConfig) -> Callable[[], None]:
    """Start Ray on this machine. CPU cores may be shared by actors: their oracles may wait."""
    import ray

    cores = os.cpu_count() or 1
    if exchange.actors * exchange.actor_cpus > cores:
        print_line(
            f"{exchange.actors} actors with {exchange.actor_cpus:g} CPUs each share {cores} cores: "
            "this pays where they wait for a served oracle"
        )
    folder = _short_folder()
    try:
        ray.init(
            address="local",
            num_cpus=max(cores, math.ceil(exchange.actors * exchange.actor_cpus)),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            _temp_dir=folder,
            **_options(),
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return lambda: shutil.rmtree(folder, ignore_errors=True)


def _join(exchange: ExchangeConfig) -> Callable[[], None]:
    import ray

    ray.init(address=exchange.address, **_options())
    return lambda: None


def _options() -> dict[str, Any]:
    return {
        "log_to_driver": False,
        "logging_level": "ERROR",
        # Names of actors are the run's own, whatever else runs on the cluster.
        "namespace": f"contraflow-{secrets.token_hex(8)}",
    }


def _call(start: Callable[[], Callable[[], None]], exchange: ExchangeConfig) -> Callable[[], None]:
    """Start or join Ray, with its errors as one line. Raises: UserError."""
    import ray

    name = f"exchange.address={exchange.address}"
    try:
        return start()
    except ConnectionError as error:
        raise UserError(
            f"{name}: no Ray answers there ({_first_line(error)}); start the head with `ray start "
            "--head`, set RAY_AUTH_MODE=token if it asks for a token, or leave the address out to "
            "use this machine"
        ) from None
    except (RuntimeError, ValueError, OSError) as error:
        if "ersion" in str(error):
            raise UserError(
                f"{name}: that cluster runs another version of Ray or Python; here it is Ray "
                f"{ray.__version__} on Python {platform.python_version()}: install the same on all "
                f"machines ({_versions(error)})"
            ) from None
        raise UserError(f"exchange=actors: Ray does not start ({_first_line(error)})") from None


def _versions(error: Exception) -> str:
    """Ray's own lines on which side has which version."""
    return on_one_line(" ".join(str(error).split()))[:200]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]


def _short_folder() -> str:
    """A private folder for Ray's sockets, whose paths are long."""
    parent = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="cf-ray-", dir=parent if len(parent) < 20 else "/tmp")


def _secured(exchange: ExchangeConfig) -> dict[str, str]:
    """Variables by which a cluster of our own asks for a token.

    Ray reads them when it is imported: a program that has imported it before keeps its own choice.
    """
    if exchange.address is not None or ("ray" in sys.modules and not _token.cache_info().currsize):
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}


@cache
def _token() -> str:
    """One token for all clusters of this process."""
    return secrets.token_hex(32)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the block, and restore them."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ |= changes
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
