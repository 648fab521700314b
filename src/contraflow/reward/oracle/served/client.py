"""Requests to an OpenAI-compatible server: many in flight, repeated where that may help.

Waits between tries double from half a second, with jitter, so that many clients do not come back
together. A server that asks for a pause (`Retry-After`) gets it from all requests of this client.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from contraflow.errors import UserError
from contraflow.reward.oracle.served.errors import (
    Failure,
    ServedError,
    api_key,
    failure_of,
    out_of_patience,
    said,
    to_user,
    unreachable,
)
from contraflow.reward.oracle.served.reply import Reply, read_reply
from contraflow.reward.oracle.served.source import ServedSource
from contraflow.reward.oracle.served.usage import Budget, Usage
from contraflow.settings.served import ServedConfig
from contraflow.system.progress import print_plain

Endpoint = Literal["completions", "chat"]
T = TypeVar("T")

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
_FIRST_CONTACT_S = 10.0
# After failures for so long, a line says what is waited for.
_SILENT_S = 5.0


@dataclass(frozen=True)
class Request:
    """One request: its endpoint, the fields of its body, and its prompt as text, for the costs."""

    endpoint: Endpoint
    body: dict[str, Any] = field(repr=False)
    prompt: str = field(repr=False)

    @property
    def n_answer(self) -> int:
        """The most tokens that the answer may have."""
        return int(self.body.get("max_tokens") or self.body.get("max_completion_tokens") or 1)


class ServedClient:
    """A connection pool to one server, with its own event loop.

    The loop runs in a thread of its own, so that a notebook, which has a running loop, can ask too.
    The key is read from the environment once and is in no representation and no error.

    Raises: UserError where the `openai` package is not installed.
    """

    def __init__(self, source: ServedSource, settings: ServedConfig) -> None:
        try:
            from openai import AsyncOpenAI
        except ImportError:
            raise UserError(
                f"{source} needs the openai package; pip install 'contraflow[served]'"
            ) from None
        self.source = source
        self.settings = settings
        self._budget = Budget(settings)
        self._pause_until = 0.0
        self._said_waiting = False
        self._jitter = random.Random()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="served").start()
        self._api = AsyncOpenAI(
            api_key=api_key() or "none",  # the package insists on one
            base_url=source.base_url,
            timeout=settings.timeout_s,
            max_retries=0,
        )
        self.close = weakref.finalize(self, _stop, self._loop, self._api)

    def __repr__(self) -> str:
        return f"ServedClient({self.source})"

    @property
    def usage(self) -> Usage:
        """What was used since the model was opened."""
        return self._budget.usage

    def list_models(self) -> list[dict[str, Any]] | None:
        """What the server says of each of its models; None where it has no such list.

        Raises: ServedError where nobody answers, or the key is refused. It is tried once.
        """
        return self._run(self._list_models())

    def send(
        self,
        requests: Sequence[Request],
        on_reply: Callable[[int, Reply], None] | None = None,
        patience_s: float | None = None,
    ) -> list[Reply]:
        """Send all requests; the replies are in their order.

        Args:
            on_reply: called with the index of a request and its reply as soon as it is there, so
                that an error of another request does not lose it.
        Raises: ServedError once the requests in flight have ended; no further ones are sent.
        """
        patience = self.settings.patience_s if patience_s is None else patience_s
        started = time.monotonic()
        try:
            return self._run(self._send_all(requests, on_reply, patience))
        finally:
            self.usage.seconds += time.monotonic() - started

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C ends what is in flight
            future.cancel()
            raise

    async def _list_models(self) -> list[dict[str, Any]] | None:
        try:
            raw = await asyncio.wait_for(
                self._api.models.with_raw_response.list(),
                min(_FIRST_CONTACT_S, self.settings.timeout_s),
            )
            return [dict(entry) for entry in json.loads(raw.text)["data"]]
        except (KeyError, TypeError, ValueError):
            return None
        except Exception as error:
            failure = failure_of(error, min(_FIRST_CONTACT_S, self.settings.timeout_s))
        if failure.status is None:
            raise unreachable(failure, self.source) from None
        if failure.status in (401, 403):
            raise to_user(failure, self.source) from None
        return None

    async def _send_all(
        self,
        requests: Sequence[Request],
        on_reply: Callable[[int, Reply], None] | None,
        patience_s: float,
    ) -> list[Reply]:
        replies: dict[int, Reply] = {}
        errors: list[ServedError] = []
        waiting = iter(enumerate(requests))  # shared: each worker takes the next one

        async def work() -> None:
            for index, request in waiting:
                if errors:
                    return
                try:
                    reply = await self._send_patiently(request, patience_s, errors)
                except ServedError as error:
                    errors.append(error)
                    return
                replies[index] = reply
                if on_reply is not None:
                    on_reply(index, reply)

        n_workers = min(self.settings.concurrency, len(requests))
        await asyncio.gather(*(work() for _ in range(n_workers)))
        if errors:
            raise errors[0]
        return [replies[index] for index in range(len(requests))]

    async def _send_patiently(
        self, request: Request, patience_s: float, errors: list[ServedError]
    ) -> Reply:
        failed_at: float | None = None
        attempt = 0
        while True:
            await self._pause()
            outcome = await self._send_once(request, repeated=attempt > 0)
            if isinstance(outcome, Reply):
                self._said_waiting = False
                return outcome
            if not outcome.passes:
                raise to_user(outcome, self.source)
            now = time.monotonic()
            failed_at = now if failed_at is None else failed_at
            wait = self._wait_s(attempt, outcome.retry_after_s)
            if errors or now + wait > failed_at + patience_s:
                raise out_of_patience(outcome, self.source, now - failed_at)
            if now + wait > failed_at + _SILENT_S:
                self._say_waiting(outcome, patience_s)
            if outcome.retry_after_s:
                self._pause_until = max(self._pause_until, now + outcome.retry_after_s)
            await asyncio.sleep(wait)
            attempt += 1

    def _say_waiting(self, failure: Failure, patience_s: float) -> None:
        """Say once in each outage that it is waited for."""
        if not self._said_waiting:
            self._said_waiting = True
            where = self.source.base_url
            print_plain(f"{where}: {said(failure)}; trying again for up to {patience_s:g} s")

    async def _pause(self) -> None:
        while (left := self._pause_until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _wait_s(self, attempt: int, retry_after_s: float) -> float:
        backoff = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempt, 30))
        jittered = backoff * self._jitter.uniform(0.5, 1.0)
        return max(retry_after_s, jittered)

    async def _send_once(self, request: Request, repeated: bool) -> Reply | Failure:
        """One try. The time limit is on all of it: a server may also send a byte now and then."""
        reserved = self._budget.reserve(request.prompt, request.n_answer)
        self.usage.retries += repeated
        reply = None
        try:
            raw = await asyncio.wait_for(self._post(request), self.settings.timeout_s)
            reply = read_reply(json.loads(raw))
            return reply
        except Exception as error:
            return failure_of(error, self.settings.timeout_s)
        finally:
            self._budget.settle(reserved, request.prompt, reply)

    async def _post(self, request: Request) -> str:
        api = self._api
        resource: Any = (
            api.completions if request.endpoint == "completions" else api.chat.completions
        )
        raw = await resource.with_raw_response.create(**request.body)
        return str(raw.text)


def _stop(loop: asyncio.AbstractEventLoop, api: Any) -> None:
    """Close the connections and end the loop's thread."""

    async def close() -> None:
        await api.close()
        loop.stop()

    if loop.is_running():
        asyncio.run_coroutine_threadsafe(close(), loop)
