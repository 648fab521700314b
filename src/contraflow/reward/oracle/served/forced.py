"""Teacher forcing on a server: a prompt with its target is sent, and read back with `echo`.

The text is prompt, one space, target, and the target's tokens are counted as in `forcing.py`: those
that reach beyond the prompt. Servers show tokens as text; where that text is not what was sent
(tokens that are a part of a character), the prompt alone is read too, and the tokens behind those
that both have are the target's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from contraflow.reward.oracle.served.client import Request, ServedClient
from contraflow.reward.oracle.served.prompts import request_body
from contraflow.reward.oracle.served.reply import Reply
from contraflow.types import Forced

# The most likely token has the highest listed log-probability; both are printed decimals.
_EQUAL = 1e-4


def read_forced(
    client: ServedClient, fields: dict[str, Any], pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Forced] | None:
    """Read each target behind its prompt; None where the tokens of one cannot be told apart.

    Raises: ServedError where the server stops to answer.
    """
    different = list(dict.fromkeys(pairs))
    replies = client.send([_echo(_text(p, t), fields) for p, t in different])
    found: dict[tuple[str, str], Forced] = {}
    unclear: dict[tuple[str, str], Reply] = {}
    for pair, reply in zip(different, replies, strict=True):
        forced = _by_text(reply, *pair)
        if forced is None:
            unclear[pair] = reply
        else:
            found[pair] = forced
    alone = client.send([_echo(prompt.rstrip(), fields) for prompt, _ in unclear])
    for (pair, reply), prompt in zip(unclear.items(), alone, strict=True):
        forced = _by_tokens(reply, prompt)
        if forced is None:
            return None
        found[pair] = forced
    return found


def _text(prompt: str, target: str) -> str:
    return f"{prompt.rstrip()} {target.strip()}"


def _echo(text: str, fields: dict[str, Any]) -> Request:
    # One token is written too, since some servers take 0 for "no limit".
    body = request_body("completions", text, 1, None, {**fields, "echo": True})
    return Request("completions", body, text)


def _by_text(reply: Reply, prompt: str, target: str) -> Forced | None:
    text = _text(prompt, target)
    begin = "".join(reply.tokens).find(text)  # behind the name of a BOS token
    if begin < 0:
        return None
    edge, end = begin + len(prompt.rstrip()), begin + len(text)
    first, last, position = -1, 0, 0
    for index, token in enumerate(reply.tokens):
        if position < end:
            last = index + 1
        position += len(token)
        if first < 0 and position > edge:
            first = index
    return _score(reply, first, last)


def _by_tokens(reply: Reply, prompt: Reply) -> Forced | None:
    last = len(reply.tokens) - _n_written(reply)
    n_prompt = len(prompt.tokens) - _n_written(prompt)
    first = 0
    while first < min(n_prompt, last) and reply.tokens[first] == prompt.tokens[first]:
        first += 1
    return _score(reply, first, last)


def _n_written(reply: Reply) -> int:
    return 1 if reply.n_written is None else reply.n_written


def _score(reply: Reply, first: int, last: int) -> Forced | None:
    values, best = reply.token_log_p[first:last], reply.best_log_p[first:last]
    if first < 1 or not values or any(map(math.isnan, (*values, *best))):
        return None
    matches = sum(value >= top - _EQUAL for value, top in zip(values, best, strict=True))
    return Forced(log_p=sum(values), n_matches=matches, n_tokens=len(values))
