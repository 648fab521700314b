"""What the stand-in for a server writes: a language model that is arithmetic.

It continues a text with " reply", the words of the text's last question, a line break, and more
lines. A token is a word with the space before it, or one white space; its log-probability depends
on its length alone, and is that of the most likely token unless the word begins with an x. So
answers, sums, and texts read back can be written down by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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
    shifted_echo: bool = False
    stop: bool = True
    max_tokens: bool = True
    usage: bool = True
    broken_characters: bool = False
    varies: bool = False
    refuses: tuple[str, ...] = ()
    delay_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    # Writes completions in place of the arithmetic, from the body of a request.
    writer: Callable[[dict[str, Any]], dict[str, Any]] | None = None


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


def completion(body: dict[str, Any], chat: bool, behavior: Behavior, n_seen: int) -> dict[str, Any]:
    if behavior.writer is not None:
        return behavior.writer(body)
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
        if echo and behavior.shifted_echo:
            values = [value - 3.0 for value in values]
            choice["logprobs"] = _completion_form(tokens, values, behavior)
            choice["logprobs"]["top_logprobs"] = [{"next": -0.1} for _ in tokens]
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
