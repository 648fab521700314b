"""The token ids of a question in its prompt, and whether an answer fits behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contraflow.errors import UserError
from contraflow.models import encoding
from contraflow.text.prompts import PromptTemplate


class PromptTokens:
    """A prompt template for one tokenizer: constant ids, then those of each question.

    max_answer_tokens: length of the longest answer. max_positions: what the model can read at once.
    """

    def __init__(
        self, prompt: PromptTemplate, tokenizer: Any, max_answer_tokens: int, max_positions: int
    ) -> None:
        self.prompt = prompt
        self.max_answer_tokens = max_answer_tokens
        self._tokenizer = tokenizer
        self._spaced = encoding.adds_space(tokenizer)
        self.header = encoding.header_ids(
            tokenizer, prompt.header, prompt.opening, spaced=self._spaced
        )
        # The last token of an answer is never read.
        self._room = max_positions - len(self.header) - max_answer_tokens + 1
        # Without a header, the question begins the text: there SentencePiece writes "▁Who".
        self._begins_text = self._spaced and not prompt.header

    def body(self, question: str) -> list[int]:
        """Return the ids after the header.

        Raises: UserError for a question without tokens, or without room for its answer.
        """
        return self.bodies([question])[0]

    def bodies(self, questions: Sequence[str]) -> list[list[int]]:
        """Return `body` of each question; all are encoded at once.

        Raises: UserError for the first question without tokens, or without room for its answer.
        """
        texts = [self.prompt.body(question=question) for question in questions]
        rows = encoding.encode_all(
            self._tokenizer, texts, first=self._begins_text, spaced=self._spaced
        )
        return [self._checked(*each) for each in zip(questions, rows, strict=True)]

    def _checked(self, question: str, ids: list[int]) -> list[int]:
        """The ids without those of the header, if there is room for them."""
        if self._begins_text and ids[: len(self.header)] == self.header:
            ids = ids[len(self.header) :]
        if not ids:
            raise UserError(f"the question {question!r} has no tokens; leave it out")
        if len(ids) > self._room:
            raise UserError(
                f"the question {question[:60]!r}… is {len(ids)} tokens with its prompt, but beside "
                f"the examples and an answer the model has room for {self._room}; shorten the "
                "question (or the fact that it is made from), prompt.answer or "
                "oracle.max_answer_tokens"
            )
        return ids

    def identity(self, model: str) -> str:
        """Return the part of an oracle's identity that names model, prompt and answer length."""
        whole = "|text" if self._begins_text else ""
        length = len(self.header)
        return f"{model}|{self.prompt.identity}|{length}|{self.max_answer_tokens}{whole}"
