"""The connection to one replay server, with retries, and the errors that users see.

The client's error texts are dropped: they may contain a password, a URL with one, or stored
questions.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from contraflow.errors import UserError
from contraflow.replay.retry import RetryWithBackoff
from contraflow.system.addresses import safe_url

T = TypeVar("T")
_CHECK_TIMEOUT_S = 2.0


class Server:
    """A connected server. Raises `UserError` within seconds where it cannot be used."""

    def __init__(
        self,
        url: str,
        *,
        patience_s: float,
        log: Callable[[str], None],
        remedy: str,
        restart: Callable[[], None] = lambda: None,
    ) -> None:
        self.shown_url = safe_url(url)
        self._name = f"the replay server at {self.shown_url}"
        self._remedy = remedy
        self._waited = ""
        self._kept = ""
        self._retry = RetryWithBackoff(patience_s, log, self._name, is_unavailable, restart)
        self.client = self._connect(url)
        if patience_s:  # from here on a failure stops a run that has waited
            self._waited = f" for {patience_s:g} s"
            self._kept = ". A run keeps its last checkpoint: the same command goes on from there"

    def call(self, request: Callable[[], T]) -> T:
        """The result of a request, which is repeated while the server is unavailable.

        The request must be idempotent.
        """
        with self._user_errors():
            return self._retry.call(request)

    def close(self) -> None:
        self.client.close()

    def _connect(self, url: str) -> redis.Redis:
        """A client for training, after a check that fails within seconds without a server."""
        never = Retry(NoBackoff(), 0)  # `RetryWithBackoff` retries, and reports it
        try:
            check = redis.Redis.from_url(
                url,
                socket_timeout=_CHECK_TIMEOUT_S,
                socket_connect_timeout=_CHECK_TIMEOUT_S,
                retry=never,
            )
            client = redis.Redis.from_url(
                url,
                socket_timeout=10.0,
                socket_connect_timeout=5.0,
                retry=never,
                health_check_interval=30,
            )
        except ValueError:  # its text may quote a part of the password
            raise UserError(
                f"replay.url={self.shown_url} is not a Redis URL: write redis://, rediss:// or "
                "unix://, and percent-encode special characters of the password"
            ) from None
        with self._user_errors(), check:
            check.exists("contraflow")
        return client

    @contextmanager
    def _user_errors(self) -> Iterator[None]:
        """Replace the client's errors by a `UserError` of one line."""
        try:
            yield
        except (AuthenticationError, NoPermissionError):
            raise UserError(
                f"{self._name} refused the user or password: "
                "correct the URL, or use replay=embedded or replay=memory"
            ) from None
        except (ConnectionError, TimeoutError) as error:
            if certificate_refused(error):
                raise UserError(
                    f"{self._name} shows a certificate that this machine does not trust: "
                    "add ?ssl_ca_certs=FILE with its authority to the URL"
                ) from None
            raise UserError(
                f"{self._name} does not answer{self._waited}: {self._remedy}{self._kept}"
            ) from None
        except RedisError as error:
            raise UserError(f"{self._name} {_complaint(error)}") from None


def is_unavailable(error: Exception) -> bool:
    """Whether waiting may help: no server answers, or the server is still loading its data."""
    if isinstance(error, BusyLoadingError):
        return True
    refused = isinstance(error, AuthenticationError) or certificate_refused(error)
    return isinstance(error, (ConnectionError, TimeoutError)) and not refused


def certificate_refused(error: BaseException) -> bool:
    """Whether TLS failed because the server's certificate is not trusted."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def storage_full(error: Exception) -> str | None:
    """A message with the remedy if memory or disk of the server is full; None for other errors."""
    code = _code(error)
    if code in ("OOM", "OutOfMemoryError"):
        return "is out of memory: raise its maxmemory or lower replay.capacity_per_fact"
    if code == "MISCONF":
        return "cannot write to its disk: free some space there"
    return None


def _complaint(error: RedisError) -> str:
    return storage_full(error) or f"failed with {_code(error)}: see the server's log"


def _code(error: Exception) -> str:
    """The error code at the start of a Redis message; in a batch it follows the command."""
    match = re.search(r"(?:^|caused error: )([A-Z]+) ", str(error))
    return match[1] if match else type(error).__name__
