"""What a served model costs: requests and tokens counted, and the limits on them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from contraflow.reward.oracle.served.errors import ServedError
from contraflow.reward.oracle.served.reply import Reply
from contraflow.settings.served import ServedConfig

_BYTES_PER_TOKEN = 4.0


@dataclass
class Usage:
    """Counts since the model was opened.

    requests: sent, repeated ones included. retries: the repeated ones.
    prompt_tokens, completion_tokens: as the server counts them; estimated from the length of the
        texts, at 4 bytes a token, where it does not (then `estimated` is True).
    seconds: time with at least one request in flight.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0
    seconds: float = 0.0
    estimated: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers together."""
        return self.prompt_tokens + self.completion_tokens

    def as_dict(self) -> dict[str, float]:
        """The counts by name, for a report."""
        return asdict(self)

    def __str__(self) -> str:
        about = "about " if self.estimated else ""
        return (
            f"{self.requests} requests ({self.retries} repeated), {about}{self.prompt_tokens} "
            f"prompt and {self.completion_tokens} answer tokens, {self.seconds:.1f} s"
        )


class Budget:
    """Counts the usage, and refuses a request that could exceed a limit.

    A request reserves what it may cost before it is sent, so the requests in flight together stay
    within the limit too, as far as the length of a prompt tells its tokens.
    """

    def __init__(self, settings: ServedConfig) -> None:
        self.usage = Usage()
        self._settings = settings
        self._reserved = 0
        # The most tokens a byte that a prompt of this server had.
        self._tokens_per_byte = 1 / _BYTES_PER_TOKEN

    def reserve(self, prompt: str, n_answer: int) -> int:
        """Reserve one request; returns the tokens to `settle` later. Raises: ServedError."""
        limits, usage = self._settings, self.usage
        tokens = math.ceil(len(prompt.encode()) * self._tokens_per_byte) + n_answer
        if limits.max_requests is not None and usage.requests >= limits.max_requests:
            raise self._used_up("max_requests", limits.max_requests)
        total = usage.tokens + self._reserved + tokens
        if limits.max_tokens_total is not None and total > limits.max_tokens_total:
            raise self._used_up("max_tokens_total", limits.max_tokens_total)
        usage.requests += 1
        self._reserved += tokens
        return tokens

    def settle(self, reserved: int, prompt: str, reply: Reply | None) -> None:
        """Replace a reservation by what the reply cost; a failed request costs no tokens."""
        self._reserved -= reserved
        if reply is None:
            return
        usage, n_bytes = self.usage, max(1, len(prompt.encode()))
        n_prompt, n_written = reply.n_prompt, reply.n_written
        if n_prompt is None:
            usage.estimated = True
            n_prompt = math.ceil(n_bytes / _BYTES_PER_TOKEN)
        else:
            self._tokens_per_byte = max(self._tokens_per_byte, n_prompt / n_bytes)
        if n_written is None:
            usage.estimated |= not reply.tokens
            written = math.ceil(len(reply.text.encode()) / _BYTES_PER_TOKEN)
            n_written = len(reply.tokens) or written
        usage.prompt_tokens += n_prompt
        usage.completion_tokens += n_written

    def _used_up(self, key: str, limit: int) -> ServedError:
        return ServedError(
            f"oracle.served.{key}={limit} is used up after {self.usage}; answers so far are kept: "
            "start again with a higher limit, and only what is missing is asked"
        )
