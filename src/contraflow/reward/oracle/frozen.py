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

from contraflow.models import encoding
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.static_decoding import StaticSteps
from contraflow.models.decoding.writing import write
from contraflow.models.layers.read_layers import ReadLayers
from contraflow.models.recorded.recorded_trees import RecordedTrees
from contraflow.reward.oracle.cached import AnswerCache, in_chunks
from contraflow.reward.oracle.ends import EndTokens
from contraflow.reward.oracle.greedy import Ending, greedy
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
        self._ending_now: Ending | None = None
        self._read_layers = ReadLayers(lm)
        self._trees = RecordedTrees(lm)
        self._static = StaticSteps()
        self._cache = AnswerCache(cache_size)

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answers in the order of the questions; equal questions get equal answers.

        Raises: UserError for a question that leaves no room for its answer.
        """
        batches = partial(in_chunks, size=self.batch_size)
        return self._cache.answer(questions, batches, self._generate)

    def _generate(self, questions: Sequence[str]) -> list[Answer]:
        prompts = self._tokens.bodies(questions)
        device = self.lm.device
        with self.lm.frozen():
            with self._read_layers.active(self._prefix):
                context = self.lm.prefill(self._prefix, prompts, self._trees)
            row = torch.arange(len(prompts), device=device)
            request = greedy(self._ending(), self.max_answer_tokens, len(prompts))
            written = write(self.lm, context, row, request, self._static)
        rows = zip(written.ids.tolist(), written.lengths.tolist(), strict=True)
        texts = self._texts([ids[:length] for ids, length in rows])
        return [Answer(*answer) for answer in zip(texts, written.log_p.tolist(), strict=True)]

    def _ending(self) -> Ending:
        """The same object for the same end tokens, as recorded steps are bound to it."""
        if self._ending_now is None or self._ending_now.ids is not self._ends:
            self._ending_now = Ending(self._ends, len(self.lm.head.weight))
        return self._ending_now

    def _texts(self, rows: list[list[int]]) -> list[str]:
        texts = encoding.decode_all(self.lm.tokenizer, rows)
        return [text.strip() if self._one_line else " ".join(text.split()) for text in texts]
