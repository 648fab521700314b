"""The oracle: the frozen base model answers questions greedily, one line each.

The few-shot answer header is prefilled once for the whole run. Questions are de-duplicated and
their answers cached, so a question that is sampled again costs nothing. Finished rows leave the
batch.

An answer ends at a line break or at any token that ends a text: what the tokenizer and the configs
of the model call so, and every other special token.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from contraflow.models.causal_lm import CausalLM
from contraflow.models.static_decoding import StaticSteps, start_decoding
from contraflow.reward.oracle.cached import AnswerCache, in_chunks
from contraflow.reward.oracle.ends import EndTokens
from contraflow.reward.oracle.prompting import PromptTokens
from contraflow.settings.models import OracleConfig
from contraflow.text.prompts import PromptTemplate
from contraflow.types import Answer


class FrozenLMOracle:
    """Greedy answers of a causal language model with its adapter disabled.

    Args:
        line_breaks_end: whether an answer is one line; otherwise all of it is put on one.
        model_identity: of the weights in use, where they are not those that `lm` was loaded with.
    """

    def __init__(
        self,
        lm: CausalLM,
        prompt: PromptTemplate,
        settings: OracleConfig | None = None,
        cache_size: int = 50_000,
        *,
        line_breaks_end: bool = True,
        model_identity: str | None = None,
    ) -> None:
        settings = settings or OracleConfig()
        self.lm = lm
        self.prompt = prompt
        self.max_answer_tokens = settings.max_answer_tokens
        self.batch_size = settings.batch_size
        self._prefix = lm.prefix_cache(prompt.header, prompt.opening)
        self._tokens = PromptTokens(prompt, lm.tokenizer, self.max_answer_tokens, lm.max_positions)
        ends = EndTokens.of(
            lm.tokenizer, lm.model, len(lm.head.weight), line_breaks=line_breaks_end
        )
        # Older versions ended an answer at the tokens that tokenizers name; where there are no
        # others, answers are the same, and so is the identity.
        self.legacy_identity = self._tokens.identity(model_identity or lm.identity)
        self.identity = self.legacy_identity + ends.identity
        if not line_breaks_end:
            self.identity += "|whole"
        self._one_line = line_breaks_end
        self._ends = torch.tensor(sorted(ends.all), device=lm.device)
        self._static = StaticSteps()
        self._cache = AnswerCache(cache_size)

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answers in the order of the questions; equal questions get equal answers.

        Raises: UserError for a question that leaves no room for its answer.
        """
        batches = partial(in_chunks, size=self.batch_size)
        return self._cache.answer(questions, batches, self._generate)

    def _generate(self, questions: Sequence[str]) -> list[Answer]:
        prompts = [self._tokens.body(question) for question in questions]
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
        text = self.lm.decode([i for i in ids if i not in ends])
        return text.strip() if self._one_line else " ".join(text.split())
