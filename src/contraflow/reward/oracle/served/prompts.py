"""The requests of each style of asking, for both endpoints.

| style | `/v1/completions` | `/v1/chat/completions` |
|---|---|---|
| few_shot | the text of `prompt.answer` | its examples as turns of user and assistant |
| bare | "Question: …", "Answer:" | the same text as the user's turn |
| completion | the text itself | a request to complete the text |
| chat | (always a chat) | the question as the user's turn |
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from contraflow.reward.oracle.served.client import Endpoint, Request
from contraflow.reward.oracle.styles import ends_at_line_break, style_prompt
from contraflow.text.prompts import PromptTemplate
from contraflow.types import AskStyle

COMPLETE = "Complete this text. Write only the words that come next.\n\n"
LINE_BREAK = "\n"


class StyleRequests:
    """Writes the requests of one style to one endpoint.

    Raises: UserError for a malformed `prompt.answer`.
    """

    def __init__(
        self,
        style: AskStyle,
        endpoint: Endpoint,
        few_shot: str,
        max_answer_tokens: int,
        fields: dict[str, Any],
    ) -> None:
        self.style = style
        self.endpoint = endpoint
        self.prompt = None if style == "chat" else style_prompt(style, few_shot)
        self._max_answer_tokens = max_answer_tokens
        self._fields = fields
        self._turns = _turns(self.prompt) if style == "few_shot" and self.prompt else []

    @property
    def identity(self) -> str:
        """12 hex digits that change with what is sent, except the question."""
        text = json.dumps([self.style, self.endpoint, self._max_answer_tokens, self._content("{}")])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def request(self, question: str) -> Request:
        """The request that asks one question."""
        content = self._content(question)
        stop = [LINE_BREAK] if ends_at_line_break(self.style) else None
        body = request_body(self.endpoint, content, self._max_answer_tokens, stop, self._fields)
        text = (
            content if isinstance(content, str) else LINE_BREAK.join(m["content"] for m in content)
        )
        return Request(self.endpoint, body, text)

    def _content(self, question: str) -> str | list[dict[str, str]]:
        """The prompt of a completion, or the messages of a chat."""
        prompt = self.prompt
        whole = question if prompt is None else prompt.header + prompt.body(question=question)
        if self.endpoint == "completions":
            return whole
        if self._turns:
            return [*self._turns, _turn("user", question)]
        return [_turn("user", COMPLETE + whole if self.style == "completion" else whole)]


def request_body(
    endpoint: Endpoint,
    content: str | list[dict[str, str]],
    max_tokens: int,
    stop: list[str] | None,
    fields: dict[str, Any],
) -> dict[str, Any]:
    """The body of a greedy request.

    Every value is sent: a server may have other defaults (vLLM takes those of the model's
    generation_config).

    fields: what differs for this server: a value that replaces ours, or None for a field that it
        refuses; the key ``max_completion_tokens`` takes the place of ``max_tokens``.
    """
    chat = endpoint == "chat"
    body: dict[str, Any] = {
        "messages" if chat else "prompt": content,
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": max_tokens,
        "stop": stop,
        "logprobs": True if chat else 1,
        # llama-cpp-python gives a chat no log-probabilities without it.
        "top_logprobs": 1 if chat else None,
        **fields,
    }
    if "max_completion_tokens" in fields:
        body.update(max_completion_tokens=max_tokens, max_tokens=None)
    return {name: value for name, value in body.items() if value is not None}


def _turns(prompt: PromptTemplate) -> list[dict[str, str]]:
    """The examples in the header of a prompt, as turns of a chat.

    An example looks like the body with a question in it, and an answer up to the next one. Empty
    where the header holds none: the whole text is then one turn of the user.
    """
    before, _, after = prompt.body_template.partition("{question}")
    if not before.strip() or not after.strip() or "{question}" in after:
        return []
    opening, closing = re.escape(before.format()), re.escape(after.format())
    example = rf"{opening}(.+?){closing}(.*?)(?=\n+{opening}|\s*\Z)"
    turns: list[dict[str, str]] = []
    for question, answer in re.findall(example, prompt.header, flags=re.DOTALL):
        turns += [_turn("user", question.strip()), _turn("assistant", answer.strip())]
    return turns


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
