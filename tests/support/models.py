"""Random two-layer language models of real architectures over a vocabulary of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from contraflow.models.causal_lm import CausalLM

WORDS = [
    "who",
    "wrote",
    "what",
    "is",
    "hamlet",
    "rome",
    "in",
    "city",
    "the",
    "capital",
    "of",
    "fact",
    "ask",
    ":",
]

PADDING_ROWS = 5  # Qwen2 and Pythia have more embeddings than their tokenizers have tokens


PIECES = ["<pad>", "?", "??", *WORDS, "\n", "<unk>"]


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one id per word.

    The ids follow the order of <pad>, ?, ??, WORDS, so that they can be written by hand.
    """
    return _tokenizer(PIECES)


def renamed_tokenizer(names: dict[int, str], **special: Any) -> PreTrainedTokenizerFast:
    """Return `word_tokenizer` with other names for some ids."""
    return _tokenizer([names.get(i, piece) for i, piece in enumerate(PIECES)], **special)


def _tokenizer(pieces: list[str], **special: Any) -> PreTrainedTokenizerFast:
    vocabulary = {w: i for i, w in enumerate(pieces)}
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "<pad>", **special}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=names["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


ARCHITECTURES = ("gpt2", "llama", "qwen2", "opt", "gpt_neox")


def tiny_model(architecture: str, positions: int = 64) -> torch.nn.Module:
    """Return a random 2-layer model of one of ARCHITECTURES; every call gives equal weights."""
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(_config(architecture, positions)).eval()
    if architecture != "gpt2":
        with torch.no_grad():  # sharper than the default initialization, so that mistakes show
            for parameter in model.parameters():
                parameter.mul_(3.0)
    return model


def _config(architecture: str, positions: int) -> PreTrainedConfig:
    size = len(word_tokenizer())
    if architecture == "gpt2":
        return GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=positions)
    if architecture == "opt":  # as in opt-350m, whose embeddings are narrower than its layers
        return OPTConfig(
            vocab_size=size + PADDING_ROWS,
            hidden_size=32,
            word_embed_proj_dim=16,
            ffn_dim=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=positions,
            do_layer_norm_before=False,
        )
    kind = {"llama": LlamaConfig, "qwen2": Qwen2Config, "gpt_neox": GPTNeoXConfig}[architecture]
    grouped = {} if architecture == "gpt_neox" else {"num_key_value_heads": 2}
    return kind(
        vocab_size=size if architecture == "llama" else size + PADDING_ROWS,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=positions,
        tie_word_embeddings=architecture != "gpt_neox",
        **grouped,
    )


def fresh_lm(architecture: str = "llama", positions: int = 64) -> CausalLM:
    """Return a new copy, as a process of its own would load it."""
    return CausalLM(
        tiny_model(architecture, positions), word_tokenizer(), identity=f"tiny-{architecture}"
    )


def save_tiny_model(architecture: str, folder: Path) -> Path:
    """Save a folder as `save_pretrained` writes it, tokenizer included."""
    tiny_model(architecture).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder
