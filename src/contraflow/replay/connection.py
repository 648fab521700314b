"""The connection to one replay server, with retries, and the errors that users see.

The client's error texts are dropped: they may contain a password, a URL with one, or stored
questions.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from contraflow.errors import UserError
from contraflow.replay.retry import RetryWithBackoff
from contraflow.system.addresses import safe_url

T = TypeVar("T")
_CHECK_TIMEOUT_S = 2.0
# The client removes the code from the text of these errors.
_CODES: dict[type[Exception], str] = {
    AskError: "ASK",
    BusyLoadingError: "LOADING",
    ClusterCrossSlotError: "CROSSSLOT",
    ClusterDownError: "CLUSTERDOWN",
    MasterDownError: "MASTERDOWN",
    MovedError: "MOVED",
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    TryAgainError: "TRYAGAIN",
}
# States of a server that answers and cannot work now, each with what ends it.
_NOT_READY = {
    "BUSY": ("is busy with a script of another program", "end that script"),
    "CLUSTERDOWN": ("reports that its cluster is down", "repair the cluster"),
    "LOADING": ("is loading its data", "start again when it has loaded them"),
    "MASTERDOWN": ("is a replica without its primary", "give the URL of the primary"),
    "NOREPLICAS": ("has too few replicas to take writes", "start the replicas"),
    "READONLY": ("is a replica, which takes no writes", "give the URL of the primary"),
    "TRYAGAIN": ("is moving its keys", "start again when it has moved them"),
}


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
        self.name = f"the replay server at {self.shown_url}"
        self._remedy = remedy
        self._waited = ""
        self._kept = ""
        self._restart = restart
        self._retry = RetryWithBackoff(patience_s, log, self.name, unavailable, self._reconnect)
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

    def refusal(self, problem: str) -> UserError:
        """An error about this server, with its name and without the URL's secrets."""
        return UserError(f"{self.name} {problem}")

    def close(self) -> None:
        self.client.close()

    def _reconnect(self) -> None:
        """Prepare a retry.

        After a failover the name of the server may have another address, which an open connection
        would never see.
        """
        self.client.connection_pool.disconnect()
        self._restart()

    def _connect(self, url: str) -> redis.Redis:
        """A client for training, after a check that fails within seconds without a server."""
        never = Retry(NoBackoff(), 0)  # `RetryWithBackoff` retries, and reports it
        try:
            check_login(url)
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
                "unix://, and percent-encode special characters of the password "
                "(# is %23, / is %2F, ? is %3F, @ is %40, % is %25)"
            ) from None
        try:
            with self._user_errors(), check:
                check.ping()
        except TypeError:  # its text may quote a part of the password too
            raise UserError(
                f"replay.url={self.shown_url} has an option that the Redis client does not know: "
                "correct what follows the ? (for example ssl_ca_certs=FILE), or write a ? of the "
                "password as %3F"
            ) from None
        return client

    @contextmanager
    def _user_errors(self) -> Iterator[None]:
        """Replace the client's errors by a `UserError` of one line."""
        try:
            yield
        except AuthenticationError:
            raise UserError(
                f"{self.name} refused the user or password: "
                "correct the URL (special characters of a password are percent-encoded), "
                "or use replay=embedded or replay=memory"
            ) from None
        except BusyLoadingError as error:
            raise self._not_ready(error) from None
        except (ConnectionError, TimeoutError) as error:
            if certificate_refused(error):
                raise UserError(
                    f"{self.name} shows a certificate that this machine does not trust: "
                    "add ?ssl_ca_certs=FILE with its authority to the URL"
                ) from None
            raise UserError(
                f"{self.name} does not answer{self._waited}: {self._remedy}{self._kept}"
            ) from None
        except RedisError as error:
            denied = denied_by(error)
            if denied is not None:
                raise self.refusal(not_permitted([denied])) from None
            if _code(error) in _NOT_READY:
                raise self._not_ready(error) from None
            raise self.refusal(_complaint(error)) from None

    def _not_ready(self, error: RedisError) -> UserError:
        state, remedy = _NOT_READY[_code(error)]
        waited = f", also after {self._waited.removeprefix(' for ')}" if self._waited else ""
        return self.refusal(f"{state}{waited}: {remedy}{self._kept}")


def check_login(url: str) -> None:
    """Raise `ValueError` where an unescaped character ends the password too early.

    `redis://:a@b/c@host` would otherwise be read as the host b, without an error.
    """
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss"):
        # The value of an option may contain an @, its name may not.
        options = [option.partition("=")[0] for option in parts.query.split("&")]
        if any("@" in part for part in (parts.path, parts.fragment, *options)):
            raise ValueError("the password is not percent-encoded")


def unavailable(error: Exception) -> str | None:
    """The state of the server where waiting may help; None for other errors."""
    code = _code(error)
    if code in _NOT_READY:  # a failover, a restart, another program's script
        return _NOT_READY[code][0]
    refused = isinstance(error, AuthenticationError) or certificate_refused(error)
    if isinstance(error, (ConnectionError, TimeoutError)) and not refused:
        return "does not answer"
    return None


def denied_by(error: Exception) -> str | None:
    """What the server's access rules deny: a command, "keys" or "" (unknown); None otherwise.

    Inside a script or as the end of a transaction the error has another type.
    """
    if isinstance(error, (ConnectionError, TimeoutError)):
        return None
    text = str(error).rpartition("caused error: ")[2]  # before it comes the command of a batch
    command = re.search(r"permissions to run the '([a-z|_-]+)' command", text)
    if command is not None:
        return command[1].upper().replace("|", " ")
    if re.search(r"permissions to access (?:a key|one of the keys)", text):
        return "keys"
    return "" if isinstance(error, NoPermissionError) else None


def not_permitted(denied: Sequence[str]) -> str:
    """A message about the commands, and "keys", that the user of the URL may not use."""
    commands = [name for name in denied if name not in ("keys", "")]
    missing = []
    if commands:
        missing.append(f"run {', '.join(commands)}")
    if "keys" in denied:
        missing.append("read and write the keys contraflow:replay:*")
    rules = [f"+{name.lower().replace(' ', '|')}" for name in commands]
    rules += ["~contraflow:replay:*"] if "keys" in denied else []
    remedy = f" (ACL SETUSER <user> {' '.join(rules)})" if rules else ""
    return (
        f"does not permit its user to {' or to '.join(missing) or 'do this'}: permit it{remedy}, "
        "or use replay=embedded or replay=memory"
    )


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
    if code == "OOM":
        return "is out of memory: raise its maxmemory or lower replay.capacity_per_fact"
    if code == "MISCONF":
        return "cannot write to its disk: free some space there"
    return None


def _complaint(error: RedisError) -> str:
    if _code(error) in ("ASK", "CROSSSLOT", "MOVED"):
        return (
            "is a cluster, which replay cannot use: give a server without cluster mode, "
            "or use replay=embedded or replay=memory"
        )
    return storage_full(error) or f"failed with {_code(error)}: see the server's log"


def _code(error: Exception) -> str:
    """The error code at the start of a Redis message.

    In a batch it follows the command; where EXEC is refused it follows "because of".
    """
    if type(error) in _CODES:
        return _CODES[type(error)]
    match = re.search(r"(?:^|caused error: |because of: )([A-Z]+) ", str(error))
    return match[1] if match else type(error).__name__
