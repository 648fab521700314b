"""The tokens that end an answer: line breaks, and whatever ends a text, in this model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EndTokens:
    """Ids of the tokens that end an answer.

    named: what tokenizers name: EOS and BOS, and every token with a line break where these end an
        answer.
    others: EOS ids of the model's configs (several, for chat models) and the other special tokens,
        which stand for the end of a text, the start of the next one, or a role. The unknown token
        is none of them, unless it is also the end (SmolLM2's <|endoftext|>).
    """

    named: frozenset[int]
    others: frozenset[int]

    @property
    def all(self) -> frozenset[int]:
        """Both sets."""
        return self.named | self.others

    @property
    def identity(self) -> str:
        """The part of an oracle's identity that names `others`; empty without any."""
        if not self.others:
            return ""
        return "|ends-" + hashlib.sha256(str(sorted(self.others)).encode()).hexdigest()[:8]

    @classmethod
    def of(
        cls, tokenizer: Any, model: Any, vocabulary: int, *, line_breaks: bool = True
    ) -> EndTokens:
        """Collect the end tokens of a model.

        Args:
            model: any module; its `config` and `generation_config` are read where it has them.
            vocabulary: number of tokens that the model can write; greater ids are left out.
        """
        named = {i for i in (tokenizer.eos_token_id, tokenizer.bos_token_id) if i is not None}
        if line_breaks:
            pieces = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
            named |= {i for i, piece in enumerate(pieces) if "\n" in piece}
        others = set(tokenizer.all_special_ids)
        others |= {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        if "end" not in str(tokenizer.unk_token):
            others -= {tokenizer.unk_token_id}
        others |= _eos_of_configs(model, tokenizer)
        return cls(
            frozenset(named), frozenset(i for i in others if 0 <= i < vocabulary) - frozenset(named)
        )


def _eos_of_configs(model: Any, tokenizer: Any) -> set[int]:
    """The ids that a generation config or a config calls the end of a text.

    An id may be the default of the architecture, and stand for a word in this tokenizer (2 for
    every Llama that says nothing else). It counts if somebody wrote a generation config, or if its
    token is written as a marker, like <|eot_id|> or [EOS].
    """
    generation = getattr(model, "generation_config", None)
    configs = [generation]
    config: Any = getattr(model, "config", None)
    if hasattr(config, "get_text_config"):
        configs += [config, config.get_text_config(decoder=True)]
    found: set[int] = set()
    for ids in map(_eos, configs):
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
