"""The oracle: the frozen base model answers questions greedily, one line each.

The few-shot answer header is prefilled once for the whole run. Questions are de-duplicated and
their answers cached, so a question that is sampled again costs nothing. Finished rows leave the
batch.

An answer ends at a line break or at any token that ends a text: what the tokenizer and the configs
of the model call so, and every other special token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import torch

from contraflow.errors import UserError
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
        cache_size: int = 50_000,
    ) -> None:
        settings = settings or OracleConfig()
        self.cache_size = cache_size
        self.lm = lm
        self.prompt = prompt
        self.max_answer_tokens = settings.max_answer_tokens
        self.batch_size = settings.batch_size
        self._prefix = lm.prefix_cache(prompt.header, prompt.opening)
        # Older versions ended an answer at the first set alone; where there are no others, answers
        # are the same, and so is the identity.
        ends, other_ends = _end_token_ids(lm)
        self.legacy_identity = (
            f"{lm.identity}|{prompt.identity}|{self._prefix.length}|{self.max_answer_tokens}"
        )
        self.identity = self.legacy_identity + _ends_identity(other_ends)
        self._ends = torch.tensor(sorted(ends | other_ends), device=lm.device)
        self._static = StaticSteps()
        self._cache: dict[str, Answer] = {}

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answers in the order of the questions; equal questions get equal answers.

        Raises: UserError for a question that leaves no room for its answer.
        """
        # Sorted by length: little padding. The text makes the order independent of the hash seed.
        new = sorted(set(questions) - self._cache.keys(), key=lambda q: (len(q), q))
        for start in range(0, len(new), self.batch_size):
            batch = new[start : start + self.batch_size]
            self._cache.update(zip(batch, self._generate(batch), strict=True))
        answers = [self._cache[q] for q in questions]
        # Oldest first: dictionaries keep the order of insertion.
        for question in list(self._cache)[: max(0, len(self._cache) - self.cache_size)]:
            del self._cache[question]
        return answers

    def _encode(self, question: str) -> list[int]:
        ids = self.lm.encode(self.prompt.body(question=question))
        # The last token of an answer is never read.
        room = self.lm.max_positions - self._prefix.length - self.max_answer_tokens + 1
        if len(ids) > room:
            raise UserError(
                f"the question {question[:60]!r}… is {len(ids)} tokens with its prompt, but beside "
                f"the examples and an answer the model has room for {room}; shorten the question "
                "(or the fact that it is made from), prompt.answer or oracle.max_answer_tokens"
            )
        return ids

    def _generate(self, questions: Sequence[str]) -> list[Answer]:
        prompts = [self._encode(question) for question in questions]
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


def _end_token_ids(lm: CausalLM) -> tuple[set[int], set[int]]:
    """Ids of all tokens that end a line or the text: an answer is one line.

    The first set is what tokenizers name: line breaks, EOS and BOS. The second holds the EOS ids of
    the model's configs (several, for chat models) and the other special tokens, which stand for the
    end of a text, the start of the next one, or a role. The unknown token is none of them, unless
    it is also the end (SmolLM2's <|endoftext|>).
    """
    tokenizer = lm.tokenizer
    pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    ends = {i for i, piece in enumerate(pieces) if "\n" in piece}
    ends |= {i for i in (tokenizer.eos_token_id, tokenizer.bos_token_id) if i is not None}
    others = set(tokenizer.all_special_ids)
    others |= {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    if "end" not in str(tokenizer.unk_token):
        others -= {tokenizer.unk_token_id}
    others |= _eos_of_configs(cast(Any, lm.model), tokenizer)
    return ends, {i for i in others if 0 <= i < len(lm.head.weight)} - ends


def _eos_of_configs(model: Any, tokenizer: Any) -> set[int]:
    """The ids that a generation config or a config calls the end of a text.

    An id may be the default of the architecture, and stand for a word in this tokenizer (2 for
    every Llama that says nothing else). It counts if somebody wrote a generation config, or if its
    token is written as a marker, like <|eot_id|> or [EOS].
    """
    generation = getattr(model, "generation_config", None)
    config = model.config
    found: set[int] = set()
    for ids in map(_eos, (generation, config, config.get_text_config(decoder=True))):
        for i in ids:
            token = str(tokenizer.convert_ids_to_tokens(i)) if i < len(tokenizer) else ""
            if token[:1] + token[-1:] in ("<>", "[]"):
                found.add(i)
    if generation is not None and not getattr(generation, "_from_model_config", False):
        found |= _eos(generation)
    return found


def _eos(config: Any) -> set[int]:
    """The `eos_token_id` of a config: None, a number or a list."""
    ids = getattr(config, "eos_token_id", None)
    if ids is None:
        return set()
    return set(ids) if isinstance(ids, list | tuple) else {ids}


def _ends_identity(ids: set[int]) -> str:
    """The part of an oracle's identity that names its other end tokens; empty without any."""
    if not ids:
        return ""
    return "|ends-" + hashlib.sha256(str(sorted(ids)).encode()).hexdigest()[:8]
