"""The oracle: the frozen base model answers questions greedily, one line each.

The few-shot answer header is prefilled once for the whole run. Questions are de-duplicated and
their answers cached, so a question that is sampled again costs nothing. Finished rows leave the
batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from contraflow.models.causal_lm import CausalLM
from contraflow.models.static_decoding import StaticSteps, start_decoding
from contraflow.settings.models import OracleConfig
from contraflow.text.prompts import PromptTemplate
from contraflow.types import Answer


class FrozenLMOracle:
    """Greedy answers of a causal language model with its adapter disabled."""

    def __init__(
        self,
        lm: CausalLM,
        prompt: PromptTemplate,
        settings: OracleConfig | None = None,
    ) -> None:
        settings = settings or OracleConfig()
        self.lm = lm
        self.prompt = prompt
        self.max_answer_tokens = settings.max_answer_tokens
        self.batch_size = settings.batch_size
        self._prefix = lm.prefix_cache(prompt.header, prompt.opening)
        self.identity = (
            f"{lm.identity}|{prompt.identity}|{self._prefix.length}|{self.max_answer_tokens}"
        )
        self._ends = _end_token_ids(lm)
        self._static = StaticSteps()
        self._cache: dict[str, Answer] = {}

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answers in the order of the questions; equal questions get equal answers."""
        # Sorted by length: little padding. The text makes the order independent of the hash seed.
        new = sorted(set(questions) - self._cache.keys(), key=lambda q: (len(q), q))
        for start in range(0, len(new), self.batch_size):
            batch = new[start : start + self.batch_size]
            self._cache.update(zip(batch, self._generate(batch), strict=True))
        return [self._cache[q] for q in questions]

    def _generate(self, questions: Sequence[str]) -> list[Answer]:
        prompts = [self.lm.encode(self.prompt.body(question=q)) for q in questions]
        with self.lm.frozen():
            context = self.lm.prefill(self._prefix, prompts)
            decoder = start_decoding(
                self.lm, context, len(prompts), self.max_answer_tokens, self._static
            )
            # Of each unfinished answer: its row in the decoder, and the index of its question.
            row = torch.arange(len(prompts), device=self.lm.device)
            question = row
            tokens: list[list[int]] = [[] for _ in prompts]
            log_p = [0.0] * len(prompts)
            for step in range(self.max_answer_tokens):
                best_log_p, best = (x[row] for x in decoder.logits().log_softmax(-1).max(-1))
                for i, token, value in zip(
                    question.tolist(), best.tolist(), best_log_p.tolist(), strict=True
                ):
                    log_p[i] += value
                    tokens[i].append(token)
                unfinished = ~torch.isin(best, self._ends)
                if not bool(unfinished.any()) or step + 1 == self.max_answer_tokens:
                    break
                question = question[unfinished]
                row = decoder.advance(row[unfinished], best[unfinished])
        return [Answer(self._text(ids), value) for ids, value in zip(tokens, log_p, strict=True)]

    def _text(self, ids: list[int]) -> str:
        ends = set(self._ends.tolist())
        return self.lm.decode([i for i in ids if i not in ends]).strip()


def _end_token_ids(lm: CausalLM) -> Tensor:
    """Ids of all tokens that end a line or the text: an answer is one line."""
    vocab = len(lm.tokenizer)
    pieces = lm.tokenizer.batch_decode([[i] for i in range(vocab)])
    ends = {i for i, piece in enumerate(pieces) if "\n" in piece}
    ends |= {i for i in (lm.tokenizer.eos_token_id, lm.tokenizer.bos_token_id) if i is not None}
    return torch.tensor(sorted(ends), device=lm.device)
