"""A stand-in for an OpenAI-compatible server; faults are played in order, one a request."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from contraflow.reward.oracle.served.oracle import ServedAnswerer, open_served
from contraflow.settings.served import ServedConfig
from contraflow.types import Answer
from support.served_text import Behavior, Fault, answer_to, completion, log_p_of

FEW_SHOT = (
    "Question: who ?\nAnswer: me .\n\nQuestion: how ?\nAnswer: so .\n\n"
    "Question: {question}\nAnswer:"
)


class _Server(ThreadingHTTPServer):
    """Prints no traceback of its own on the standard error of a command that a test reads.

    A client sees any error of the server as a cut connection.
    """

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client is gone, or will say so."""


class StandIn:
    """A running server: its behavior (change it while it runs) and what it saw."""

    def __init__(self, behavior: Behavior) -> None:
        self.behavior = behavior
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: set[str] = set()
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.http = _Server(("127.0.0.1", 0), _handler(self))
        self.http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    @property
    def source(self) -> str:
        return f"openai:{self.url}#tiny"

    def next_fault(self) -> Fault | None:
        with self.lock:
            return self.behavior.faults.pop(0) if self.behavior.faults else None


@contextmanager
def stand_in(**behavior: Any) -> Iterator[StandIn]:
    """Serve on a free port until the block ends."""
    server = StandIn(Behavior(**behavior))
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def expected(question: str, end: tuple[str, ...] = ("\n",)) -> Answer:
    """The line and the sum over its tokens and the line break: −0.05 − 0.01 · length each."""
    tokens = [" reply", *(f" {word}" for word in question.split()), *end]
    return Answer(answer_to(question), pytest.approx(log_p_of(tokens)))


def opened(server: StandIn, n: int = 10, source: str = "", **settings: Any) -> ServedAnswerer:
    """The server's model, for answers of at most n tokens."""
    return open_served(
        source or server.source,
        settings=ServedConfig(**settings),
        few_shot=FEW_SHOT,
        max_answer_tokens=n,
    )


def _handler(server: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self._key_is_good() and self._finds(server.behavior.lists_models):
                self._reply(200, {"object": "list", "data": list(server.behavior.models)})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.bodies.append(body)
                server.paths.append(self.path)
                server.in_flight += 1
                server.most_in_flight = max(server.most_in_flight, server.in_flight)
            time.sleep(server.behavior.delay_s)
            # Before the reply, as its reader may ask again before this thread goes on.
            with server.lock:
                server.in_flight -= 1
            self._answer(body)

        def _answer(self, body: dict[str, Any]) -> None:
            behavior = server.behavior
            chat = self.path.endswith("/chat/completions")
            fault = server.next_fault()
            if fault is not None:
                self._play(fault)
            elif self._key_is_good() and self._finds(
                behavior.chat if chat else behavior.completions
            ):
                refused = next((name for name in behavior.refuses if name in body), None)
                if body["model"] not in [model["id"] for model in behavior.models]:
                    self._error(404, f"The model {body['model']} does not exist")
                elif refused is not None:
                    self._error(400, f"Unsupported parameter: '{refused}'")
                else:
                    self._reply(200, completion(body, chat, behavior, len(server.bodies)))

        def _key_is_good(self) -> bool:
            sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
            server.keys.add(sent)
            if server.behavior.key is None or sent == server.behavior.key:
                return True
            self._error(401, f"Incorrect API key provided: {sent}")
            return False

        def _finds(self, there: bool) -> bool:
            if not there:
                self._error(404, "Not Found")
            return there

        def _error(self, status: int, message: str, **more: Any) -> None:
            self._reply(status, {"error": {"message": message, "type": "x", **more}})

        def _reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def _play(self, fault: Fault) -> None:
            if fault.kind == "status":
                content = {"error": {"message": fault.message, "code": fault.code}}
                self._reply(fault.status, content, fault.headers)
            elif fault.kind == "page":
                self._reply(200, b"<html>welcome</html>")
            elif fault.kind == "hang":
                server.over.wait(30)
            else:
                self._break(fault.kind)
            if fault.kind in ("hang", "reset", "cut", "dribble"):
                self.close_connection = True

        def _break(self, kind: str) -> None:
            if kind == "reset":  # no FIN: the client sees a reset
                self.connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                self.connection.close()
                return
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
            self.wfile.write(b'{"choices": [{"text": ')
            while kind == "dribble" and not server.over.wait(0.05):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return

    return Handler
