"""A served model that takes a fixed time for each answer, however many are asked at once.

It speaks as much of the OpenAI interface as the client uses, and always gives the same answer.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS = (" Paris", " .", "\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a client that ends does not wait for its answers."""


@contextmanager
def slow_server(seconds: float) -> Iterator[str]:
    """Serve until the block ends; gives the source of its model for `oracle.name`."""
    server = _Server(("127.0.0.1", 0), _handler(seconds))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"openai:http://127.0.0.1:{server.server_address[1]}/v1#slow"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(seconds: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

        def do_GET(self) -> None:
            self._reply({"object": "list", "data": [{"id": "slow", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(seconds)
            prompts = body.get("prompt", "")
            n = len(prompts) if isinstance(prompts, list) else 1
            limit = int(body.get("max_tokens") or len(TOKENS))
            choices = [_choice(i, TOKENS[:limit], limit >= len(TOKENS)) for i in range(n)]
            usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
            self._reply(
                {"object": "text_completion", "model": "slow", "choices": choices, "usage": usage}
            )

        def _reply(self, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


def _choice(index: int, tokens: tuple[str, ...], ends: bool) -> dict[str, Any]:
    offsets = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
    return {
        "index": index,
        "text": "".join(tokens),
        "finish_reason": "stop" if ends else "length",
        "logprobs": {
            "tokens": list(tokens),
            "token_logprobs": [-0.5] * len(tokens),
            "top_logprobs": None,
            "text_offset": offsets,
        },
    }
