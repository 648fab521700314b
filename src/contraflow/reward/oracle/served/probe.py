"""What a server really does, found out by a few requests when it is opened.

Many servers ignore fields without saying so. One greedy answer is asked for twice, once more with a
`stop` that it contains, and read back with `echo`. What disagrees is switched off, and said in one
line each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from contraflow.reward.oracle.served.client import Endpoint, Request, ServedClient
from contraflow.reward.oracle.served.errors import ServedError, refused_field
from contraflow.reward.oracle.served.prompts import request_body
from contraflow.reward.oracle.served.reply import Reply

PROBE = "In the small town by the river, people say that"
N_TOKENS = 8
PATIENCE_S = 5.0
# Servers in half precision differ by some hundredths of a nat a token from one batch to another.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Abilities:
    """What can be relied on at one endpoint.

    fields: what a request must have or leave out here, see `request_body`.
    log_p: token log-probabilities are given and plausible. echo: prompts can be read back.
    served_as: the name of the model in the replies.
    notes: one line for each thing that is missing.
    """

    endpoint: Endpoint
    fields: dict[str, Any] = field(default_factory=dict)
    log_p: bool = True
    echo: bool = False
    served_as: str = ""
    notes: tuple[str, ...] = ()


def probe(client: ServedClient, endpoint: Endpoint, model: str) -> Abilities:
    """Ask the server some four short requests and compare.

    Raises: ServedError where the endpoint does not answer at all.
    """
    ask = _Asker(client, endpoint, model)
    first, second = ask(), ask()
    notes: list[str] = []
    if first.text != second.text:
        notes.append(
            "two equal requests got different answers: it ignores temperature=0, or its arithmetic "
            "varies; every answer is a single draw"
        )
    notes += [note for note in (_max_tokens_note(first), _stop_note(ask, first)) if note]
    wrong = _log_p_fault(first, second)
    echo = False
    if not wrong and endpoint == "completions":
        echo, note, wrong = _echo(ask, first)
        notes += [note] if note else []
    if wrong:
        notes.append(f"{wrong}: no log P of answers")
    return Abilities(
        endpoint=endpoint,
        fields=ask.fields,
        log_p=not wrong,
        echo=echo,
        served_as=first.model,
        notes=tuple(notes),
    )


def gives_log_p(client: ServedClient, endpoint: Endpoint, model: str) -> bool:
    """Ask for one token, and see whether its log-probability comes with it.

    Raises: ServedError where the endpoint does not answer at all.
    """
    return bool(_Asker(client, endpoint, model)("Hello", n=1).token_log_p)


class _Asker:
    """Asks the probe's question, without the fields that the server refuses."""

    def __init__(self, client: ServedClient, endpoint: Endpoint, model: str) -> None:
        self.fields: dict[str, Any] = {"model": model}
        self._client = client
        self._endpoint: Endpoint = endpoint

    def __call__(
        self, text: str = PROBE, stop: list[str] | None = None, n: int = N_TOKENS, **extra: Any
    ) -> Reply:
        content = text if self._endpoint == "completions" else [{"role": "user", "content": text}]
        while True:
            fields = {**self.fields, **extra}
            body = request_body(self._endpoint, content, n, stop, fields)
            try:
                return self._client.send(
                    [Request(self._endpoint, body, text)],
                    patience_s=min(PATIENCE_S, self._client.settings.patience_s),
                )[0]
            except ServedError as error:
                name = refused_field(error.detail) if error.status not in (None, 404, 429) else None
                if name is None or name not in body or name in extra:
                    raise _explained(error) from None
                self._leave_out(name, error.detail)

    def _leave_out(self, name: str, detail: str) -> None:
        self.fields[name] = None
        if "max_completion_tokens" in detail:
            self.fields["max_completion_tokens"] = True


def _explained(error: ServedError) -> ServedError:
    if error.status in (400, 422) and "temperature" in error.detail:
        return ServedError(
            f"{error}; the model takes no temperature=0, and an oracle must answer greedily: "
            "choose one that does",
            error.status,
            error.detail,
        )
    return error


def _max_tokens_note(reply: Reply) -> str:
    n = reply.n_written if reply.n_written is not None else len(reply.tokens)
    if n > N_TOKENS + 1 or (not n and len(reply.text) > 16 * N_TOKENS):
        return "it ignores max_tokens: answers can be longer (and cost more) than asked for"
    return ""


def _stop_note(ask: Callable[..., Reply], first: Reply) -> str:
    """Ask for the first answer up to a word in its middle.

    The stop is a word and not a character, since some servers stop at whole tokens only.
    """
    words = first.text.split()
    middle = words[len(words) // 2] if words else ""
    if not middle or first.text.find(middle) <= 0:
        return ""
    cut = ask(stop=[middle])
    if middle in cut.text:
        return "it ignores stop: it writes on after an answer, which costs tokens; we cut it"
    return ""


def _log_p_fault(first: Reply, second: Reply) -> str:
    """Why the log-probabilities cannot be used; empty where they look right."""
    values = first.token_log_p
    if not values:
        return "it gives no token log-probabilities"
    if any(math.isnan(value) or value > 1e-3 for value in values):
        return "its token log-probabilities are missing or positive"
    if first.n_written is not None and abs(first.n_written - len(values)) > 1:
        return f"it gives {len(values)} log-probabilities for {first.n_written} tokens"
    if len(values) >= 4 and first.log_p > -1e-3:
        return "its log-probabilities are all 0, those after temperature=0"
    if first.text == second.text and not _near(first.token_log_p, second.token_log_p):
        return "its log-probabilities of two equal answers differ"
    return ""


def _echo(ask: Callable[..., Reply], first: Reply) -> tuple[bool, str, str]:
    """Whether a text can be read back, a note where it is wrong, and a fault of the answers' log P.

    Every token of a greedy answer is the most likely one, also when it is read back. Where this
    does not hold only for the text read back, that reading is what is wrong (llama-cpp-python
    gives a prompt's tokens the probabilities of other places).
    """
    try:
        # 0 tokens would be natural, but some servers take 0 for "no limit".
        back = ask(PROBE + first.text, n=1, echo=True)
    except ServedError:
        return False, "", ""
    if not back.text.startswith(PROBE) or len(back.tokens) <= len(first.tokens):
        return False, "", ""
    # The text may fall into other tokens when it is read as a whole; equal ones are compared.
    start = _start_of(back, PROBE)
    pairs = list(zip(back.tokens[start:], first.tokens, strict=False))
    same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
    if start == 0 or same == 0 or any(map(math.isnan, back.best_log_p[start:])):
        return False, "", ""
    read = slice(start, start + same)
    if _near(back.token_log_p[read], first.token_log_p[:same]):
        return True, "", ""
    if _is_greedy(first, slice(same)) and not _is_greedy(back, read):
        return False, "it gives wrong log-probabilities for texts read back: no teacher forcing", ""
    return False, "", "its log-probabilities differ when it reads its own answer back"


def _is_greedy(reply: Reply, part: slice) -> bool:
    """Whether each token is the most likely one; False where that is not told."""
    pairs = zip(reply.token_log_p[part], reply.best_log_p[part], strict=True)
    return all(value >= best - TOLERANCE for value, best in pairs)


def _start_of(reply: Reply, prompt: str) -> int:
    """The index of the first token behind the prompt; 0 where the tokens do not show it."""
    written = "".join(reply.tokens)
    end = written.find(prompt) + len(prompt)
    if end < len(prompt):
        return 0
    position = 0
    for index, token in enumerate(reply.tokens):
        if position >= end:
            return index
        position += len(token)
    return 0


def _near(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return len(a) == len(b) and all(
        math.isfinite(x) and math.isfinite(y) and abs(x - y) <= TOLERANCE + 0.05 * abs(x)
        for x, y in zip(a, b, strict=True)
    )
