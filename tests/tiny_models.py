"""Random two-layer language models over a vocabulary of words, for tests that need a real architecture."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

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


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One id per word, in the order of WORDS after <pad>, ?, ??: ids that a person can write by hand."""
    vocabulary = {w: i for i, w in enumerate(["<pad>", "?", "??", *WORDS, "\n", "<unk>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<pad>"
    )


def tiny_model(architecture: str) -> torch.nn.Module:
    """A random 2-layer GPT-2 or (grouped-query) Llama; equal weights at every call."""
    size = len(word_tokenizer())
    torch.manual_seed(7)
    if architecture == "gpt2":
        config = GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=64)
        return GPT2LMHeadModel(config).eval()
    llama = LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(llama).eval()
    with torch.no_grad():  # sharper than the default initialisation, so that mistakes show
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


def fresh_lm(architecture: str = "llama") -> CausalLM:
    """A new copy, as a process of its own would load it."""
    return CausalLM(tiny_model(architecture), word_tokenizer(), identity=f"tiny-{architecture}")
