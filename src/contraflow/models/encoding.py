"""Token ids of prompts that are read in parts: a constant header, then a body per question.

The parts have the tokens of the whole text. Every model that reads prompts uses these functions, so
that two ways of running one model see the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


def token_ids(tokenizer: Any, text: str, special: bool = False) -> list[int]:
    """Return the ids of a text, with special tokens such as BOS if `special`."""
    return cast(list[int], tokenizer(text, add_special_tokens=special)["input_ids"])


def all_token_ids(tokenizer: Any, texts: Sequence[str], special: bool = False) -> list[list[int]]:
    """Return `token_ids` of each text, in one call.

    Tokenizers spend most of a call on where in the text each token stands. transformers always
    asks for that; its backend need not compute it.
    """
    if len(texts) < 2 or not _is_its_backend(tokenizer):
        return [token_ids(tokenizer, text, special) for text in texts]
    # The first call also sets how the backend treats special tokens, and that it does not pad.
    first = token_ids(tokenizer, texts[0], special)
    rest = tokenizer.backend_tokenizer.encode_batch_fast(
        list(texts[1:]), add_special_tokens=special
    )
    return [first, *(found.ids for found in rest)]


def _is_its_backend(tokenizer: Any) -> bool:
    """Whether a call of this tokenizer is no more than one of its backend: nothing overrides it."""
    kind = type(tokenizer)
    return (
        isinstance(tokenizer, PreTrainedTokenizerFast)
        and kind.__call__ is PreTrainedTokenizerBase.__call__
        and kind._encode_plus is PreTrainedTokenizerFast._encode_plus
    )


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
    behind = _behind(line, joined)
    return token_ids(tokenizer, text) if behind is None else behind


def encode_all(
    tokenizer: Any, texts: Sequence[str], *, first: bool, spaced: bool
) -> list[list[int]]:
    """Return `encode` of each text, in one call of the tokenizer."""
    if first or not spaced:
        return all_token_ids(tokenizer, texts, special=first)
    line = token_ids(tokenizer, "\n")
    joined = all_token_ids(tokenizer, [f"\n{text}" for text in texts])
    rows = [_behind(line, ids) for ids in joined]
    return [
        token_ids(tokenizer, text) if ids is None else ids
        for ids, text in zip(rows, texts, strict=True)
    ]


def _behind(line: list[int], joined: list[int]) -> list[int] | None:
    """The ids behind those of a line break; None if the break is part of another token."""
    return joined[len(line) :] if joined[: len(line)] == line else None


def decode_all(tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[str]:
    """Return the text of each row of ids without special tokens, in one call."""
    if not rows:
        return []
    return cast(list[str], tokenizer.decode([list(ids) for ids in rows], skip_special_tokens=True))


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
