"""What `exchange=actors` needs, checked without importing Ray or starting anything."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec

from contraflow.errors import UserError
from contraflow.settings import Config

_CONNECT_S = 5.0
# What a client sends first, with an empty SETTINGS frame (RFC 9113, sections 3.4 and 6.5). Servers
# reply with a frame of that type, which is its fourth byte.
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HTTP2_SETTINGS = b"\x04"


def check_actors(config: Config) -> None:
    """Check what can be checked before Ray starts. Does nothing for other exchanges.

    Raises: UserError where Ray is not installed, replay is in the memory of one process, stored
        questions are to be weighted, or nothing listens at the address.
    """
    exchange = config.exchange
    if exchange.kind != "actors":
        return
    if find_spec("ray") is None:
        raise UserError("exchange=actors needs Ray: pip install 'contraflow[actors]'")
    if config.replay.store == "memory":
        raise UserError(
            "replay.store=memory: actors are processes of their own and cannot reach it; add "
            "replay=embedded, or replay=redis replay.url=… for several machines"
        )
    _require_equal_replay(config)
    if exchange.address not in (None, "auto"):
        _require_answer(str(exchange.address))


def _require_equal_replay(config: Config) -> None:
    if config.exploration.correct_replay:
        raise UserError(
            "exploration.correct_replay: the learner of actors takes only those stored questions "
            "that exchange.max_reuse allows, so no weights make them a mean over all; leave it "
            "out, or use exchange=scatter"
        )


def _require_answer(address: str) -> None:
    """Connect to a head as gRPC does. Ray itself would wait for a server of another kind."""
    host, _, port = address.rpartition(":")
    place = (host.strip("[]"), int(port))
    remedy = "start the head with `ray start --head`, or leave the address out to use this machine"
    try:
        with socket.create_connection(place, timeout=_CONNECT_S) as connection:
            if not os.environ.get("RAY_USE_TLS"):
                connection.sendall(_HTTP2_PREFACE)
                reply = connection.recv(9)
                if reply[3:4] != _HTTP2_SETTINGS:
                    raise UserError(f"exchange.address={address}: that is no Ray head; {remedy}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"exchange.address={address}: nothing answers there ({reason}); {remedy}"
        ) from None
