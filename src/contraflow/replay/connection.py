"""One replay server, reached patiently: its clients, and what its failures are called.

The text of the client's errors is dropped: it may hold a password, an address with one, or stored
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
from contraflow.replay.patience import Patience
from contraflow.system.addresses import safe_url

T = TypeVar("T")
_KNOCK_S = 2.0


class Server:
    """A connected server. Raises `UserError`, here within seconds, where it cannot be used."""

    def __init__(
        self,
        url: str,
        *,
        patience_s: float,
        tell: Callable[[str], None],
        remedy: str,
        revive: Callable[[], None] = lambda: None,
    ) -> None:
        self.shown_url = safe_url(url)
        self._name = f"the replay server at {self.shown_url}"
        self._remedy = remedy
        self._waited = self._kept = ""
        self._patience = Patience(patience_s, tell, self._name, is_away, revive)
        self.client = self._connect(url)
        if patience_s:  # from now on it is a run that is stopped
            self._waited = f" for {patience_s:g} s"
            self._kept = ". A run keeps its last checkpoint: the same command goes on from there"

    def ask(self, question: Callable[[], T]) -> T:
        """The answer; the question is put again while the server is away, so it must bear
        repetition.
        """
        with self._told():
            return self._patience.ask(question)

    def close(self) -> None:
        self.client.close()

    def _connect(self, url: str) -> redis.Redis:
        """A client for training, after a quick knock that fails within seconds where nobody
        answers.
        """
        never = Retry(NoBackoff(), 0)  # who waits, and says so, is `Patience`
        try:
            knock = redis.Redis.from_url(
                url, socket_timeout=_KNOCK_S, socket_connect_timeout=_KNOCK_S, retry=never
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
                f"replay.url={self.shown_url} is not a Redis URL: write redis://, rediss:// or unix://, and "
                "percent-encode special characters of the password"
            ) from None
        with self._told(), knock:
            knock.exists("contraflow")
        return client

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the client's errors into one line each."""
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


def is_away(error: Exception) -> bool:
    """Whether waiting may help: nobody answers, or the server still reads its data."""
    if isinstance(error, BusyLoadingError):
        return True
    refused = isinstance(error, AuthenticationError) or certificate_refused(error)
    return isinstance(error, (ConnectionError, TimeoutError)) and not refused


def certificate_refused(error: BaseException) -> bool:
    """Whether TLS failed because of who the server says it is."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def full(error: Exception) -> str | None:
    """What there is no room for, with the remedy; None where the failure is another."""
    code = _code(error)
    if code in ("OOM", "OutOfMemoryError"):
        return "is out of memory: raise its maxmemory or lower replay.capacity_per_fact"
    if code == "MISCONF":
        return "cannot write to its disk: free some space there"
    return None


def _complaint(error: RedisError) -> str:
    return full(error) or f"failed with {_code(error)}: see the server's log"


def _code(error: Exception) -> str:
    """The error code that starts a Redis message; in a batch it follows the command."""
    match = re.search(r"(?:^|caused error: )([A-Z]+) ", str(error))
    return match[1] if match else type(error).__name__
