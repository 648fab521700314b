"""A stand-in for an OpenAI-compatible server, whose language model is arithmetic.

It continues a text with " reply", the words of the text's last question, a line break, and more
lines. A token is a word with the space before it, or one white space; its log-probability depends
on its length alone, and is that of the most likely token unless the word begins with an x. So
answers, sums, and texts read back can be written down by hand. Faults are played in order, one a
request.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from contraflow.reward.oracle.served import ServedAnswerer, open_served
from contraflow.settings.served import ServedConfig

FEW_SHOT = (
    "Question: who ?\nAnswer: me .\n\nQuestion: how ?\nAnswer: so .\n\n"
    "Question: {question}\nAnswer:"
)
REST = ["\n", "Question:", *(f" more{i}" for i in range(60))]


@dataclass
class Fault:
    """What happens to one request instead of an answer.

    kind: "status", "reset" (the connection breaks), "cut" (half of the body), "hang", "dribble"
        (a byte now and then, never the end), or "page" (a web page with status 200).
    """

    kind: str = "status"
    status: int = 500
    message: str = "out of order"
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Behavior:
    """What the server does; the defaults are those of a good one."""

    key: str | None = None
    models: tuple[dict[str, Any], ...] = ({"id": "tiny", "created": 1, "root": "/models/tiny"},)
    lists_models: bool = True
    completions: bool = True
    chat: bool = True
    logprobs: bool = True
    zero_logprobs: bool = False
    echo: bool = True
    wrong_echo: bool = False
    stop: bool = True
    max_tokens: bool = True
    usage: bool = True
    broken_characters: bool = False
    varies: bool = False
    refuses: tuple[str, ...] = ()
    delay_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)


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
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
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


def opened(server: StandIn, n: int = 10, source: str = "", **settings: Any) -> ServedAnswerer:
    """The server's model, for answers of at most n tokens."""
    return open_served(
        source or server.source,
        settings=ServedConfig(**settings),
        few_shot=FEW_SHOT,
        max_answer_tokens=n,
    )


def tokens_of(text: str) -> list[str]:
    return re.findall(r" ?[^\s]+|\s", text)


def log_p_of(tokens: list[str]) -> float:
    """The sum over tokens of −0.05 − 0.01 · length."""
    return sum(-0.05 - 0.01 * len(token) for token in tokens)


def answer_to(question: str) -> str:
    return "reply " + " ".join(question.split())


def _continuation(text: str) -> list[str]:
    question = re.split("Question:", text)[-1].removesuffix("\nAnswer:")
    return [" reply", *(f" {word}" for word in question.split()), *REST]


def _write(body: dict[str, Any], prompt: str, behavior: Behavior, n_seen: int) -> list[str]:
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or 16
    written: list[str] = []
    for token in _continuation(prompt)[: limit if behavior.max_tokens else None]:
        written.append(f"{token}{n_seen}" if behavior.varies and token == " reply" else token)
        text = "".join(written)
        if behavior.stop and any(stop in text for stop in body.get("stop") or []):
            break
    return written


def _cut(text: str, body: dict[str, Any], behavior: Behavior) -> str:
    stops = (body.get("stop") or []) if behavior.stop else []
    ends = [text.index(stop) for stop in stops if stop in text]
    return text[: min(ends, default=len(text))]


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
            try:
                self._answer(body)
            finally:
                with server.lock:
                    server.in_flight -= 1

        def _answer(self, body: dict[str, Any]) -> None:
            behavior = server.behavior
            chat = self.path.endswith("/chat/completions")
            time.sleep(behavior.delay_s)
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
                    self._reply(200, _completion(body, chat, behavior, len(server.bodies)))

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


def _completion(
    body: dict[str, Any], chat: bool, behavior: Behavior, n_seen: int
) -> dict[str, Any]:
    prompt = body["messages"][-1]["content"] if chat else body["prompt"]
    written = _write(body, prompt, behavior, n_seen)
    echo = bool(body.get("echo")) and behavior.echo
    tokens = tokens_of(prompt) * echo + written
    text = prompt * echo + _cut("".join(written), body, behavior)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    choice.update({"message": {"role": "assistant", "content": text}} if chat else {"text": text})
    if behavior.logprobs and body.get("logprobs"):
        values = [0.0 if behavior.zero_logprobs else log_p_of([token]) for token in tokens]
        if echo and behavior.wrong_echo:
            values = [3 * value for value in values]
        choice["logprobs"] = (_chat_form if chat else _completion_form)(tokens, values, behavior)
        if echo and not chat:
            choice["logprobs"]["token_logprobs"][0] = None
    reply = {"id": "1", "object": "text_completion", "model": body["model"], "choices": [choice]}
    if behavior.usage:
        n_prompt = len(tokens_of(prompt))
        reply["usage"] = {"prompt_tokens": n_prompt, "completion_tokens": len(written)}
    return reply


def _completion_form(tokens: list[str], values: list[float], behavior: Behavior) -> dict[str, Any]:
    shown = ["�" if behavior.broken_characters and not t.isascii() else t for t in tokens]
    top = [
        {"best": value + 1.0, token: value} if token.strip().startswith("x") else {token: value}
        for token, value in zip(tokens, values, strict=True)
    ]
    return {"tokens": shown, "token_logprobs": values, "top_logprobs": top, "text_offset": []}


def _chat_form(tokens: list[str], values: list[float], behavior: Behavior) -> dict[str, Any]:
    del behavior
    items = [{"token": t, "logprob": v} for t, v in zip(tokens, values, strict=True)]
    return {"content": items}
