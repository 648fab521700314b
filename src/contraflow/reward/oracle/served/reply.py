"""What a server replied, in one form: completions and chats write log-probabilities differently."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One written text, and its tokens where the server gives them.

    token_log_p: log-probability of each of the tokens, NaN where there is none.
    best_log_p: log-probability of the most likely token at each place, NaN where not given.
    n_prompt, n_written: tokens as the server counts them; None where it does not.
    """

    text: str
    tokens: tuple[str, ...] = ()
    token_log_p: tuple[float, ...] = ()
    best_log_p: tuple[float, ...] = ()
    n_prompt: int | None = None
    n_written: int | None = None
    model: str = ""

    @property
    def log_p(self) -> float:
        """The sum over all tokens, in nats; NaN without tokens."""
        return sum(self.token_log_p) if self.tokens else math.nan


def read_reply(payload: Any) -> Reply:
    """Read the JSON of a completion or a chat completion.

    Raises: ValueError where it has another form.
    """
    try:
        choice = payload["choices"][0]
        text = choice["message"].get("content") if "message" in choice else choice["text"]
        usage = payload.get("usage") or {}
        tokens = _tokens(choice.get("logprobs") or {})
        return Reply(
            text=str(text or ""),
            tokens=tuple(str(token) for token, _, _ in tokens),
            token_log_p=tuple(_number(value) for _, value, _ in tokens),
            best_log_p=tuple(_number(value) for _, _, value in tokens),
            n_prompt=_count(usage.get("prompt_tokens")),
            n_written=_count(usage.get("completion_tokens")),
            model=str(payload.get("model") or ""),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"no text in the reply ({type(error).__name__})") from None


def _tokens(logprobs: dict[str, Any]) -> list[tuple[Any, Any, Any]]:
    """(token, log P, best log P) of each place.

    llama.cpp's server answers a completion in the form of a chat.
    """
    if logprobs.get("content"):
        return [
            (item["token"], item.get("logprob"), _best(item.get("top_logprobs")))
            for item in logprobs["content"]
        ]
    values = logprobs.get("token_logprobs") or []
    tokens = logprobs.get("tokens") or [""] * len(values)
    top = logprobs.get("top_logprobs") or [None] * len(values)
    return list(zip(tokens, values, map(_best, top), strict=True))


def _best(top: Any) -> Any:
    """The highest of the listed log-probabilities: {token: log P}, or a list of items."""
    if not top:
        return None
    values = top.values() if isinstance(top, dict) else [item["logprob"] for item in top]
    return max(values)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
