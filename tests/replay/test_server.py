"""What a store on a server must withstand: other writers, planted bytes, wrong addresses."""

from __future__ import annotations

import pickle
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest
import redis
from redis.connection import AbstractConnection

from contraflow.errors import UserError
from contraflow.replay.codec import content_id, encode_entry
from contraflow.replay.existing import namespaces
from contraflow.replay.redis import RedisReplay
from contraflow.settings.running import ReplayConfig
from contraflow.system.addresses import safe_url
from support.processes import program
from support.replay import Bomb, Guarded, OpenStore, distinct, held, question, reference

SETTINGS = "server-tests", ReplayConfig(capacity_per_fact=4)


@pytest.fixture
def store(valkey_url: str) -> Iterator[RedisReplay]:
    with RedisReplay(*SETTINGS, valkey_url) as opened:
        opened.clear()
        yield opened


def test_planted_bytes_are_skipped_counted_and_never_run(
    store: RedisReplay, raw: redis.Redis, tmp_path: Path
) -> None:
    good, ruined = distinct("f", 2)
    store.add([good, ruined], [0.0, 5.0])
    ranked, payloads = store._keys.of_fact("f")
    raw.hset(payloads, content_id(ruined), pickle.dumps(Bomb(tmp_path / "boom")))
    stranger = content_id(question("f", [8]))
    raw.zadd(ranked, {stranger: 9.0, b"\xff\xfe": 7.0})
    raw.hset(payloads, stranger, encode_entry(question("another fact", [8])))

    for _ in range(3):  # three bad entries, counted once each; the third has no payload
        assert store.sample(["f"], 4, random.Random(0)) == [[good]]
    assert store.stats()["skipped"] == 3
    assert store.snapshot() == reference(*SETTINGS, [([good], [0.0])]).snapshot()
    assert not (tmp_path / "boom").exists()


def test_what_nobody_can_read_makes_room_for_what_somebody_can(
    store: RedisReplay, raw: redis.Redis
) -> None:
    ranked, payloads = store._keys.of_fact("f")
    names = [f"junk{i}" for i in range(SETTINGS[1].capacity_per_fact)]
    raw.zadd(ranked, dict.fromkeys(names, 1e9))
    raw.hset(payloads, mapping=dict.fromkeys(names, b"\x80\x04\x95junk"))
    entries = distinct("f", 5)
    assert store.add(entries, [1.0, 2.0, 3.0, 4.0, 5.0]) == 5
    assert held(store, "f") == {entry.question_ids for entry in entries[1:]}
    assert raw.hlen(payloads) == raw.zcard(ranked) == 4, "no payload is left without its place"


def test_entries_with_wrong_lengths_or_ids_are_replaced(
    store: RedisReplay, raw: redis.Redis
) -> None:
    """They pass as msgpack, and would stop the run that samples them."""
    good, short, negative, huge = distinct("f", 4)
    planted = [
        msgspec.structs.replace(short, log_prior=short.log_prior[:-1]),
        msgspec.structs.replace(negative, question_ids=(-1, *negative.question_ids[1:])),
        msgspec.structs.replace(huge, question_ids=(2**40, *huge.question_ids[1:])),
    ]
    store.add([good], [0.0])
    ranked, payloads = store._keys.of_fact("f")
    for entry in planted:
        raw.zadd(ranked, {content_id(entry): 9.0})
        raw.hset(payloads, content_id(entry), encode_entry(entry))
    for _ in range(3):
        assert store.sample(["f"], 4, random.Random(0)) == [[good]]
    assert store.stats()["skipped"] == 3
    assert store.add(distinct("f", 8)[5:], [-1.0] * 3) == 3, "the script counts them as worst"
    assert raw.zcard(ranked) == 4 and store.size("f") == len(held(store, "f")) == 4


def test_a_write_that_is_sent_twice_changes_nothing(store: RedisReplay) -> None:
    batch = (distinct("f", 6), [3.0, 1.0, 5.0, 0.0, 4.0, 2.0])
    store.add(*batch)
    once = store.snapshot()
    assert store.add(*batch) == 0
    assert store.snapshot() == once


def test_a_server_that_forgot_the_script_is_taught_it_again(
    store: RedisReplay, raw: redis.Redis
) -> None:
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


def _served(raw: redis.Redis) -> dict[str, int]:
    """Count the calls of each command, those inside transactions and scripts included."""
    return {
        name.removeprefix("cmdstat_"): stat["calls"]
        for name, stat in raw.info("commandstats").items()
    }


def test_the_server_itself_counts_one_transaction_a_batch(
    store: RedisReplay, raw: redis.Redis
) -> None:
    batch = [entry for i in range(8) for entry in distinct(f"f{i}", 8)]
    store.add(batch, [0.0] * 64)
    before = _served(raw)
    store.add(batch, [1.0] * 64)
    store.sample([f"f{i}" for i in range(8)], 4, random.Random(0))
    made = {name: calls - before.get(name, 0) for name, calls in _served(raw).items()}
    assert (made["multi"], made["exec"]) == (2, 2)
    assert made["evalsha"] == 8, "64 questions of 8 facts"
    assert made["zrange"] == 8 + 8, "once a fact inside of the script, once a fact to draw from"


_WRITER = """
import sys
from contraflow.settings.running import ReplayConfig
from contraflow.replay.redis import RedisReplay
from support.replay import question
url, namespace, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
with RedisReplay(namespace, ReplayConfig(capacity_per_fact=20), url) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(first, 400, 2):
        entry = question("f", range(5 * i, 5 * i + 5))
        store.add([entry, question(f"g{i}", [i])], [float(i * 7919 % 400), 0.0])
"""


def test_two_processes_writing_at_once_leave_the_best_of_both(open_shared: OpenStore) -> None:
    """Priorities i·7919 mod 400 are distinct (7919 is prime), so the best 20 are 380 … 399."""
    store = open_shared(capacity_per_fact=20)
    url = getattr(store, "url", None) or store._client.connection_pool.connection_kwargs["path"]
    url = url if "://" in url else f"unix://{url}"
    arguments = (_WRITER, url, store.stats()["namespace"])
    pipe = subprocess.PIPE
    writers = [
        subprocess.Popen(**program(*arguments, str(first)), stdin=pipe, stdout=pipe)
        for first in (0, 1)
    ]
    for writer in writers:  # both are connected before either writes
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        assert writer.stdin is not None
    ranked, payloads = store._keys.of_fact("f")
    for writer in writers:
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    looks = 0
    while any(writer.poll() is None for writer in writers):  # no reader ever sees half an insertion
        with store._client.pipeline(transaction=True) as pipe:
            n_ranked, n_payloads = pipe.zcard(ranked).hlen(payloads).execute()
        assert n_ranked == n_payloads <= 20
        looks += 1
    assert looks > 10
    for writer in writers:
        writer.communicate(timeout=30)
        assert writer.returncode == 0
    best = sorted(range(400), key=lambda i: -(i * 7919 % 400))[:20]
    assert held(store, "f") == {tuple(range(5 * i, 5 * i + 5)) for i in best}
    assert store.size() == 20 + 400


def test_an_unreachable_server_is_one_line_within_ten_seconds() -> None:
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        for server in (silent, closed):
            start = time.monotonic()
            with pytest.raises(UserError) as caught:
                RedisReplay(*SETTINGS, f"redis://ann:s3cret@127.0.0.1:{server.getsockname()[1]}/0")
            assert time.monotonic() - start < 10
            assert str(caught.value) == (
                f"the replay server at redis://127.0.0.1:{server.getsockname()[1]}/0 does not "
                "answer: "
                "start it or correct the URL, or use replay=embedded or replay=memory"
            )
    with pytest.raises(UserError, match=r"unix:///nowhere/s\.sock does not answer"):
        RedisReplay(*SETTINGS, "unix:///nowhere/s.sock")


@pytest.mark.parametrize("login", ["ann:wr0ng@", ":wr0ng@", ""])
def test_a_refused_login_is_reported_without_the_password(guarded: Guarded, login: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        RedisReplay(*SETTINGS, f"redis://{login}127.0.0.1:{guarded[0]}/0")
    assert f"redis://127.0.0.1:{guarded[0]}/0 refused the user or password" in str(caught.value)
    assert time.monotonic() - start < 10
    for secret in ("wr0ng", "s3cret"):
        assert secret not in str(caught.value)
    assert caught.value.__suppress_context__, "the client's own text may quote the login"


def test_the_right_password_is_never_shown(guarded: Guarded) -> None:
    with RedisReplay(*SETTINGS, f"redis://ann:s3cret@127.0.0.1:{guarded[0]}/0") as store:
        assert store.add(distinct("f", 1), [0.0]) == 1
        assert store.stats()["url"] == f"redis://127.0.0.1:{guarded[0]}/0"
        assert "s3cret" not in f"{store!r} {store} {store.stats()}"


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
    "url",
    [
        "redis://:pw/x@host:1",
        "http://ann:pw@host",
        "redis://:pw@host:port",
        "pw@host",
        "redis://user:pw#55@host:1/0",
        "redis://user:pw/55@host:1/0",
        "redis://user:pw?55@host:1/0",
        "redis://user:pw[55@host:1/0",
        "rediss://user:55/pw@host:1/0",  # without the check: port 55 of a host "user"
        "redis://:55@55/pw#55%1@host:1/0",  # without the check: a host "55"
        "redis://:pw@55?pw@host:1/0",
        "redis://user:55#pw@host:1/0",
        "redis://user:55?pw@host:1/0",
        "redis://user:55?pw@host:1/0?ssl_cert_reqs=none",
    ],
)
def test_a_malformed_url_is_reported_without_the_password(url: str) -> None:
    with pytest.raises(UserError, match="is not a Redis URL") as caught:
        RedisReplay(*SETTINGS, url)
    assert "percent-encode special characters of the password (# is %23" in str(caught.value)
    assert "pw" not in str(caught.value) and "55" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://localhost:1?ssl_ca=f", "redis://u:5?pw=x@host:1/0"])
def test_an_option_that_the_client_does_not_know_is_one_line(url: str) -> None:
    with pytest.raises(UserError, match=r"has an option that .* does not know: .* as %3F") as told:
        RedisReplay(*SETTINGS, url)
    assert "pw" not in str(told.value)


@pytest.mark.parametrize("password", ["pa@ss", "pa%40ss", "p%23%2F%3F%25x"])
def test_a_password_with_special_characters_is_understood(guarded: Guarded, password: str) -> None:
    port, admin, _ = guarded
    plain = unquote(password)
    admin.execute_command("ACL", "SETUSER", "zoe", "on", f">{plain}", "~*", "+@all")
    with RedisReplay(*SETTINGS, f"redis://zoe:{password}@127.0.0.1:{port}/0") as store:
        store.check_access()
        assert store.stats()["url"] == f"redis://127.0.0.1:{port}/0"
    admin.execute_command("ACL", "DELUSER", "zoe")


def test_another_client_finds_what_an_earlier_one_wrote(valkey_url: str) -> None:
    batch = (distinct("f", 3), [0.0, 1.0, 2.0])
    settings = "again", ReplayConfig()
    with RedisReplay(*settings, valkey_url) as first:
        first.clear()
        first.add(*batch)
    with RedisReplay(*settings, valkey_url) as second:
        assert second.snapshot() == reference(*settings, [batch]).snapshot()


def test_planted_names_are_shown_as_they_are_and_stop_nothing(
    valkey_url: str, raw: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the terminal's markup [/bold] ends bold text, and raises if there is none."""
    with RedisReplay("planted", ReplayConfig(), valkey_url) as store:
        ranked, _ = store._keys.of_fact("[/bold] [red]")
        raw.sadd(store._keys.index, "[/bold] [red]")
        raw.zadd(ranked, {"junk": 1.0})
        assert list(store.entries()) == []
        assert "the last of fact '[/bold] [red]'" in capsys.readouterr().err
        raw.sadd(store._keys.index.replace("planted", "no name!"), "f")
        assert "planted" in namespaces(valkey_url) and "no name!" not in namespaces(valkey_url)
        raw.delete(store._keys.index.replace("planted", "no name!"), store._keys.index, ranked)


def test_entries_that_cannot_be_read_are_logged_with_the_reason(
    valkey_url: str, raw: redis.Redis
) -> None:
    messages: list[str] = []
    with RedisReplay("told", ReplayConfig(), valkey_url, log=messages.append) as store:
        store.clear()
        good = distinct("f", 2)
        store.add(good, [0.0, 1.0])
        ranked, payloads = store._keys.of_fact("f")
        raw.hset(payloads, content_id(good[0]), b"junk")
        raw.zadd(ranked, {content_id(good[1]): float("inf")})
        raw.sadd(store._keys.index, b"\xff\xfe")
        for _ in range(3):
            assert store.sample(["f"], 4, random.Random(0)) == [[]]
        assert messages == [  # each is logged once
            "replay skips 2 stored entries that cannot be read, the last of fact 'f' "
            f"(id {content_id(good[1])}): priority is inf"
        ]
        assert (store.stats()["skipped"], store.stats()["facts"]) == (3, 1), (
            "a fact whose name is no text"
        )
        assert store.snapshot() == reference("told", ReplayConfig(), []).snapshot()
        store.clear()
        assert raw.smembers(store._keys.index) == set()
