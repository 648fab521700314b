"""Which model a server has under a name, as far as the server says.

The identity of a served model is its name, what ``/v1/models`` says of it (root, parent and meta:
vLLM names the folder of the weights and the base of an adapter, llama.cpp the sizes), the name in
its replies (OpenAI's has a date), and the user's tag. Not a part of it:

- the address: a server may move, and the answers stay the same. Two servers that give one name to
  two models need a tag on one of them.
- ``created``: vLLM and llama.cpp write the current time there.

Weights that are exchanged behind one name cannot be seen. A tag tells versions apart.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from contraflow.errors import on_one_line
from contraflow.reward.oracle.served.client import ServedClient
from contraflow.reward.oracle.served.errors import ServedError

_CONTENT = ("id", "root", "parent", "meta")
_SHOWN = 8


@dataclass(frozen=True)
class ServedModel:
    """A model of a server: its name there, the user's tag, and the content of the server's entry.

    known: the names of all models of the server, None where it has no list.
    """

    name: str
    tag: str = ""
    entry: dict[str, Any] = field(default_factory=dict)
    known: tuple[str, ...] | None = None

    def identity(self, served_as: str) -> str:
        """``served-`` and 16 hex digits."""
        content = json.dumps([self.name, self.tag, self.entry, served_as], sort_keys=True)
        return "served-" + hashlib.sha256(content.encode()).hexdigest()[:16]


def find_model(client: ServedClient) -> ServedModel:
    """Look the source's model up in the server's list.

    Raises: ServedError where nobody answers, the key is refused, or the list has no such model (a
        server with one model answers under every name, and the wrong model would be asked).
    """
    source = client.source
    entries = client.list_models()
    name, tag = source.model_and_tag
    if entries is None:
        return ServedModel(name, tag)
    by_name = {str(entry.get("id")): entry for entry in entries}
    if source.model in by_name:  # a name with @ in it
        name, tag = source.model, ""
    if name not in by_name:
        known = ", ".join(list(by_name)[:_SHOWN]) or "none"
        more = f" and {len(by_name) - _SHOWN} more" if len(by_name) > _SHOWN else ""
        raise ServedError(
            on_one_line(
                f"{source.base_url} has no model {name!r}; it has {known}{more}: "
                "write one of these behind the #"
            ),
            404,
        )
    entry = {key: by_name[name][key] for key in _CONTENT if by_name[name].get(key) is not None}
    return ServedModel(name, tag, entry, tuple(by_name))
