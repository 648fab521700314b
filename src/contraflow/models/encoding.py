"""Token ids of prompts that are read in parts: a constant header, then a body per question.

The parts have the tokens of the whole text. Every model that reads prompts uses these functions, so
that two ways of running one model see the same tokens.
"""

from __future__ import annotations

from typing import Any, cast


def token_ids(tokenizer: Any, text: str, special: bool = False) -> list[int]:
    """Return the ids of a text, with special tokens such as BOS if `special`."""
    return cast(list[int], tokenizer(text, add_special_tokens=special)["input_ids"])


def adds_space(tokenizer: Any) -> bool:
    """Whether a tokenizer begins every text with a space (Llama 2, Mistral, Phi-3)."""
    line = token_ids(tokenizer, "\n")
    return token_ids(tokenizer, "Who") != token_ids(tokenizer, "\nWho")[len(line) :]


def encode(tokenizer: Any, text: str, *, first: bool, spaced: bool) -> list[int]:
    """Return the ids of a text, with special tokens such as BOS only if `first` in a sequence.

    A text that is not the first is encoded as it reads at the start of a line. SentencePiece
    tokenizers would put a space before it.

    Args:
        spaced: `adds_space` of this tokenizer.
    """
    if first or not spaced:
        return token_ids(tokenizer, text, special=first)
    line = token_ids(tokenizer, "\n")
    joined = token_ids(tokenizer, "\n" + text)
    return joined[len(line) :] if joined[: len(line)] == line else token_ids(tokenizer, text)


def encode_before(tokenizer: Any, text: str, next_text: str, *, spaced: bool) -> list[int]:
    """Return the ids of a first `text` as the tokenizer splits `text + next_text`.

    Falls back to `text` alone if a token spans the boundary.
    """
    joined = encode(tokenizer, text + next_text, first=True, spaced=spaced)
    tail = encode(tokenizer, next_text, first=False, spaced=spaced)
    if tail and joined[-len(tail) :] == tail:
        return joined[: -len(tail)]
    return encode(tokenizer, text, first=True, spaced=spaced)


def header_ids(tokenizer: Any, text: str, next_text: str, *, spaced: bool) -> list[int]:
    """Return the ids before every body: the header's, or BOS alone if there is no header."""
    if not text:
        return encode(tokenizer, text, first=True, spaced=spaced)
    return encode_before(tokenizer, text, next_text, spaced=spaced)
