"""What a failed request means: try again, or tell the user in one line what to do.

Nothing of a request is quoted, and of a reply only its message, with the key cut out: servers
repeat keys in their messages.
"""

from __future__ import annotations

import email.utils
import math
import os
import time
from dataclasses import dataclass
from typing import Any

from contraflow.errors import UserError, on_one_line
from contraflow.reward.oracle.served.source import ServedSource
from contraflow.system.addresses import without_passwords

KEY_VARIABLES = ("CONTRAFLOW_API_KEY", "OPENAI_API_KEY")
# Fields that a server may refuse, and that we can do without.
OPTIONAL_FIELDS = ("max_tokens", "top_logprobs", "logprobs", "stop", "top_p", "echo")
_KEPT = "answers so far are kept"


class ServedError(UserError):
    """A server that does not answer as it should.

    status: the HTTP status, None without a reply. detail: the server's own message.
    """

    def __init__(self, message: str, status: int | None = None, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


@dataclass(frozen=True)
class Failure:
    """A failed request: what happened, whether another try may help, and when (seconds)."""

    what: str
    status: int | None = None
    detail: str = ""
    passes: bool = False
    retry_after_s: float = 0.0


def api_key() -> str:
    """The key of the environment; empty without one."""
    return next((os.environ[name] for name in KEY_VARIABLES if name in os.environ), "").strip()


def failure_of(error: Exception, timeout_s: float) -> Failure:
    """Classify an exception of the `openai` package, of `asyncio` or of reading a reply."""
    import openai

    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return Failure(f"no reply within {timeout_s:g} s", passes=True)
    if isinstance(error, openai.APIConnectionError):
        return Failure(f"no connection ({_reason(error)})", passes=True)
    if isinstance(error, openai.APIStatusError):
        return _status_failure(error)
    return Failure(f"a reply that cannot be read ({type(error).__name__})", passes=True)


def to_user(failure: Failure, source: ServedSource) -> ServedError:
    """The error of a request that another try would not help."""
    where, status = source.base_url, failure.status
    if status in (401, 403):
        message = f"{where} {_refused_key()} ({status})"
    elif status == 404:
        message = (
            f"{where} does not know the model {source.model!r} or the path ({said(failure)}); "
            f"check both in {source}"
        )
    elif failure.detail == "insufficient_quota":
        message = f"{where} says that the key's quota is used up; {_KEPT}"
    else:
        message = f"{where} refuses the request ({said(failure)}); {_KEPT}"
    return ServedError(on_one_line(message), status, failure.detail)


def out_of_patience(failure: Failure, source: ServedSource, waited_s: float) -> ServedError:
    """The error of a question that was tried again for too long."""
    waits = failure.retry_after_s
    asks = f", and asks to wait {waits:g} s more" if waits else ""
    return ServedError(
        on_one_line(
            f"{source.base_url} failed for {waited_s:.0f} s, last with {said(failure)}{asks}; "
            f"{_KEPT}: start again when it is well, or raise oracle.served.patience_s or lower "
            "oracle.served.concurrency"
        ),
        failure.status,
        failure.detail,
    )


def unreachable(failure: Failure, source: ServedSource) -> ServedError:
    """The error of an endpoint that did not answer the first request."""
    return ServedError(
        on_one_line(
            f"nobody answers at {source.base_url} ({said(failure)}); "
            f"start the server or correct the address in {source}"
        ),
        failure.status,
        failure.detail,
    )


def without_log_p(source: str) -> UserError:
    """The error of an oracle whose answers are to be scored and have no log P."""
    return UserError(
        f"oracle.name={source}: its server gives no token log-probabilities that can be used, and "
        "the reward has log P of every answer; serve the model with them (`logprobs`, as vLLM and "
        "llama.cpp do), or choose another oracle.name=…"
    )


def said(failure: Failure) -> str:
    """What happened, and the server's own words."""
    return failure.what + (f": {failure.detail}" if failure.detail else "")


def _refused_key() -> str:
    found = next((name for name in KEY_VARIABLES if name in os.environ), None)
    if found is None:
        return f"wants a key; set {' or '.join(KEY_VARIABLES)}"
    return f"refuses the key in {found}; set it to one that is valid there"


def _reason(error: BaseException) -> str:
    """The innermost cause, which names the socket error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return _safe(str(error) or type(error).__name__)


def _status_failure(error: Any) -> Failure:
    status = int(error.status_code)
    detail = "" if status in (401, 403) else _detail(error)
    passes = status in (408, 409, 425, 429) or status >= 500
    if error.code == "insufficient_quota":
        return Failure(f"status {status}", status, "insufficient_quota")
    # Some servers fail with 500 on a field that they do not support.
    refused = status >= 500 and refused_field(detail) is not None
    return Failure(
        f"status {status}",
        status,
        detail,
        passes=passes and not refused and status != 501,
        retry_after_s=_retry_after(error.response.headers),
    )


def refused_field(detail: str) -> str | None:
    """The optional field that a server's message is about."""
    low = detail.lower()
    return next((name for name in OPTIONAL_FIELDS if name in low), None)


def _detail(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error")
        inner = inner if isinstance(inner, dict) else body
        return _safe(str(inner.get("message") or inner.get("detail") or ""))
    return ""


def _safe(text: str) -> str:
    text = without_passwords(" ".join(text.split()))
    key = api_key()
    return (text.replace(key, "***") if key else text)[:200]


def _retry_after(headers: Any) -> float:
    """Seconds that the header asks to wait: a number, or a date."""
    value = headers.get("retry-after")
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        date = email.utils.parsedate_tz(value)
        seconds = email.utils.mktime_tz(date) - time.time() if date else 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
