"""An oracle by a model's own `generate()`, for whatever can answer but cannot sample here.

GPT-J, GPT-Neo, BLOOM, Mamba and others are refused as samplers since their attention cannot share a
prefix, and editors such as WISE and GRACE return wrappers that are no transformers model at all.
Answers are those of `FrozenLMOracle` where both can run a model: the same tokens are read, the
model's most likely token follows, and the same tokens end an answer. It is slower, since the
examples are read again for every question.

`generate` and the forward pass get keyword arguments only: wrappers ignore positional ones. A batch
holds prompts of one length, so that nothing is padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.models.attention.architecture import context_length
from contraflow.reward.oracle.cached import AnswerCache, of_equal_length
from contraflow.reward.oracle.ends import EndTokens
from contraflow.reward.oracle.prompting import PromptTokens
from contraflow.settings.models import OracleConfig
from contraflow.text.prompts import PromptTemplate
from contraflow.types import Answer

# `generate` keeps the logits of all steps: 2^26 numbers are 256 MiB in float32.
MOST_LOGITS = 1 << 26

# What a model's generation_config may say, and a greedy answer must not follow.
_GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "num_return_sequences": 1,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
}


class GeneratingOracle:
    """Greedy answers by `model.generate(input_ids=…)`.

    Args:
        model: any module with `generate`; it is run as it is, in eval mode and without gradient.
        identity: of the model's content.
        line_breaks_end: whether an answer is one line; otherwise all of it is put on one.
    Raises: UserError when the examples of the prompt fill all positions of the model.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        prompt: PromptTemplate,
        settings: OracleConfig,
        identity: str,
        *,
        line_breaks_end: bool = True,
        cache_size: int = 50_000,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_answer_tokens = settings.max_answer_tokens
        n_positions = positions_of(model)
        self._tokens = PromptTokens(prompt, tokenizer, self.max_answer_tokens, n_positions)
        if len(self._tokens.header) >= n_positions:
            raise UserError(
                f"the examples of a prompt ({prompt.header[:40]!r}…) are "
                f"{len(self._tokens.header)} tokens, but the model has room for {n_positions}; "
                "give prompt.answer fewer of them"
            )
        vocabulary = vocabulary_of(model, tokenizer)
        ends = EndTokens.of(tokenizer, model, vocabulary, line_breaks=line_breaks_end)
        self._ends = sorted(i for i in ends.all if i < vocabulary)
        self._one_line = line_breaks_end
        kind = "generate" if line_breaks_end else "whole|generate"
        self.identity = f"{self._tokens.identity(identity)}{ends.identity}|{kind}"
        most_rows = max(1, MOST_LOGITS // (vocabulary * self.max_answer_tokens))
        self.batch_size = min(settings.batch_size, most_rows)
        self._cache = AnswerCache(cache_size)

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answers in the order of the questions; equal questions get equal answers.

        log_p is NaN where the model's `generate` returns no logits.

        Raises: UserError for a question that leaves no room for its answer.
        """
        return self._cache.answer(questions, self._batches, self._generate)

    def _batches(self, questions: list[str]) -> Iterator[list[str]]:
        lengths = {question: len(self._tokens.body(question)) for question in questions}
        return of_equal_length(questions, lengths.__getitem__, self.batch_size)

    @torch.no_grad()
    def _generate(self, questions: list[str]) -> list[Answer]:
        rows = [self._tokens.header + self._tokens.body(question) for question in questions]
        prompt = torch.tensor(rows, device=device_of(self.model))
        out = cast(Any, self.model).generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=self.max_answer_tokens,
            eos_token_id=self._ends or None,
            pad_token_id=self._pad_id(),
            return_dict_in_generate=True,
            output_logits=True,
            **_GREEDY,
        )
        sequences: Tensor = out if isinstance(out, Tensor) else out.sequences
        steps = getattr(out, "logits", None) or getattr(out, "scores", None)
        written = [self._until_end(row) for row in _continuations(sequences, prompt)]
        log_p = _log_p(steps, written)
        return [Answer(self._text(ids), p) for ids, p in zip(written, log_p, strict=True)]

    def _pad_id(self) -> int:
        """What fills finished rows; any id will do, as nothing behind an end is read."""
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, *self._ends):
            if token is not None:
                return int(token)
        return 0

    def _until_end(self, ids: list[int]) -> list[int]:
        """The tokens up to the first end, which is included."""
        ends = set(self._ends)
        for i, token in enumerate(ids):
            if token in ends:
                return ids[: i + 1]
        return ids

    def _text(self, ids: list[int]) -> str:
        ends = set(self._ends)
        text = self.tokenizer.decode([i for i in ids if i not in ends], skip_special_tokens=True)
        return str(text).strip() if self._one_line else " ".join(str(text).split())


def _continuations(sequences: Int[Tensor, "b s"], prompt: Int[Tensor, "b p"]) -> list[list[int]]:
    """The written tokens, whether or not `generate` returns the prompt before them."""
    width = prompt.shape[1]
    if sequences.shape[1] >= width and torch.equal(sequences[:, :width], prompt):
        sequences = sequences[:, width:]
    return cast(list[list[int]], sequences.tolist())


def _log_p(steps: Sequence[Float[Tensor, "b v"]] | None, written: list[list[int]]) -> list[float]:
    """log P_A of each row in nats: over its own tokens, the end included."""
    if steps is None or len(steps) < max(map(len, written)):
        return [float("nan")] * len(written)
    log_p = [0.0] * len(written)
    for t, logits in enumerate(steps):
        log_probs = logits.float().log_softmax(-1)
        for row, ids in enumerate(written):
            if t < len(ids):
                log_p[row] += float(log_probs[row, ids[t]])
    return log_p


def device_of(model: nn.Module) -> torch.device:
    """The device of a module's first parameter."""
    return next(model.parameters()).device


def positions_of(model: nn.Module) -> int:
    """The longest text a model reads, in tokens; without a limit where its config says none."""
    config = getattr(model, "config", None)
    return context_length(config) if hasattr(config, "get_text_config") else 1 << 30


def vocabulary_of(model: nn.Module, tokenizer: Any) -> int:
    """Number of tokens that a model writes: rows of its head, or what config or tokenizer say."""
    get_head: Any = getattr(model, "get_output_embeddings", None)
    weight = None if get_head is None else getattr(get_head(), "weight", None)
    if weight is not None:
        return len(weight)
    size = getattr(getattr(model, "config", None), "vocab_size", None)
    return int(size) if isinstance(size, int) else len(tokenizer)
