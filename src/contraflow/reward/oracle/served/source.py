"""The address of a served model: ``openai:http://HOST:PORT/v1#MODEL``, or ``…#MODEL@TAG``.

A tag is the user's word for a version. The model behind a name can be replaced without a trace in
what a server says, and answers of the two versions must not be mixed; another tag keeps them apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from contraflow.errors import UserError

PREFIX = "openai:"
FORM = "openai:http://HOST:PORT/v1#MODEL"


@dataclass(frozen=True)
class ServedSource:
    """An endpoint and a model of it.

    base_url: the address before ``/completions``; it holds neither a password nor options.
    model: the name behind the ``#``, which may still end in ``@TAG``.
    """

    base_url: str
    model: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.base_url}#{self.model}"

    @property
    def model_and_tag(self) -> tuple[str, str]:
        """The name cut at its last ``@``; a leading one is a part of the name."""
        model, at, tag = self.model.rpartition("@")
        return (model, tag) if at and model and tag else (self.model, "")

    @property
    def label(self) -> str:
        """For people: the model and where it is served."""
        return f"{self.model} ({urlsplit(self.base_url).netloc})"

    @property
    def is_private(self) -> bool:
        """Whether nobody else can read the requests: encrypted, or on this machine."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def is_served(source: str) -> bool:
    """Whether a model source names a served model."""
    return source.startswith(PREFIX)


def parse_served(source: str) -> ServedSource:
    """Read ``openai:URL#MODEL``; ``/v1`` is added to a URL that has no path.

    Raises: UserError for another form. The message never shows the URL, which may hold a password.
    """
    url, hash_sign, model = source.strip().removeprefix(PREFIX).partition("#")
    if "@" in url:
        raise _malformed("has a user or a password in it; put the key into CONTRAFLOW_API_KEY")
    if "?" in url:
        raise _malformed("has options (behind ?) in it, which are not supported")
    if not hash_sign or not model.strip():
        raise _malformed("names no model behind a #")
    if re.search(r"[\s\x00-\x1f]", url + model) or "#" in model:
        raise _malformed("has white space or a second # in it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _malformed("has a port that is not a number from 1 to 65535, or a bad host") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise _malformed("has no http:// or https:// address")
    path = parts.path.rstrip("/") or "/v1"
    return ServedSource(f"{parts.scheme}://{parts.netloc}{path}", model)


def _malformed(what: str) -> UserError:
    return UserError(f"the address of a served model {what}; write {FORM}")
