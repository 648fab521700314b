"""Models and a tokenizer of any shape without a download: random weights, and one token id for
every short string of letters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    GPT2Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from contraflow.models.causal_lm import CausalLM

ASCII = 97  # ids of a tokenizer that knows single characters only


def byte_tokenizer(size: int = ASCII) -> PreTrainedTokenizerFast:
    """Tokenizer of ``size`` ids: one per ASCII character, then strings of letters, each merged from
    a shorter one and a letter.
    """
    characters = ["<end>", "Ġ", "Ċ", *map(chr, range(33, 127))]
    vocabulary = {c: i for i, c in enumerate(characters)}
    merges: list[tuple[str, str]] = []
    for word in _words():
        if len(vocabulary) >= size:
            break
        vocabulary[word] = len(vocabulary)
        merges.append((word[:-1], word[-1]))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>", padding_side="left"
    )


def _words() -> Iterator[str]:
    """Yield strings of two letters, then of three and so on, with and without a leading space."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    longest = [*letters, "Ġ"]
    while True:
        longest = [word + letter for word in longest for letter in letters]
        yield from longest


def gpt2_config(layers: int, width: int, heads: int, vocabulary: int) -> GPT2Config:
    return GPT2Config(
        vocab_size=vocabulary,
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        n_positions=1024,
        bos_token_id=0,
        eos_token_id=0,
    )


def qwen2_config(layers: int, width: int, heads: int, vocabulary: int) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        bos_token_id=0,
        eos_token_id=0,
    )


def deberta_config(layers: int, width: int, heads: int, vocabulary: int) -> DebertaV2Config:
    """Configuration as of DeBERTa-v3: relative positions in buckets, no absolute positions, no
    token types.
    """
    return DebertaV2Config(
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=heads,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=256,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        max_position_embeddings=512,
        pad_token_id=0,
        num_labels=3,
    )


def random_lm(config: PreTrainedConfig, device: torch.device, dtype: torch.dtype) -> CausalLM:
    """Frozen causal LM in eval mode, with the same weights at every call."""
    model = random_weights(AutoModelForCausalLM, config, device, dtype)
    return CausalLM(model, byte_tokenizer(config.vocab_size), identity="random")


def random_judge(
    config: PreTrainedConfig, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    """Frozen classifier of text pairs in eval mode, with the same weights at every call."""
    return random_weights(AutoModelForSequenceClassification, config, device, dtype)


def random_weights(
    kind: Any, config: PreTrainedConfig, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    """A frozen model in eval mode, made on its device: on a host that takes most of a minute."""
    torch.manual_seed(0)
    with device:
        model: PreTrainedModel = kind.from_config(config, dtype=dtype)
    return model.to(device).eval().requires_grad_(False)
