"""Tokenization of premise-hypothesis pairs, shared by all judges."""

from collections.abc import Sequence
from typing import Any

# Tokens reserved for the premise and the separators, however long the answer is.
PREMISE_ROOM = 24
# Tokens that an answer may have before it takes room from the premise, if the judge is that long.
ANSWER_ROOM = 64
_SEPARATORS = 4


def encode_pairs(
    tokenizer: Any,
    premises: Sequence[str],
    hypotheses: Sequence[str],
    max_length: int,
    *,
    padded: bool = True,
) -> Any:
    """Tokenize the pairs, premise first: tensors, or lists if they are not to be padded.

    A pair that is too long loses tokens of the premise, because the answer is what is judged. A
    hypothesis that alone exceeds the limit is cut as well: a long answer must not stop a run.
    """
    room = max_length - PREMISE_ROOM
    cut = [_cut(tokenizer, text, room) for text in hypotheses]
    return tokenizer(
        list(premises),
        cut,
        truncation="only_first",
        max_length=max_length,
        padding=padded,
        return_tensors="pt" if padded else None,
    )


def _cut(tokenizer: Any, text: str, room: int) -> str:
    if len(text) <= room:  # a token has at least one character
        return text
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return text if len(ids) <= room else str(tokenizer.decode(ids[:room]))


def cut_premises(
    tokenizer: Any, premises: Sequence[str], hypotheses: Sequence[str] | None, max_length: int
) -> list[int]:
    """Return the positions of the premises that `encode_pairs` would cut.

    Without hypotheses, answers of `ANSWER_ROOM` tokens are assumed, or of a third of the judge's
    length where that is less.
    """
    lengths = _n_tokens(tokenizer, premises)
    answers = [min(ANSWER_ROOM, max_length // 3)] * len(premises)
    if hypotheses is not None:
        answers = [min(n, max_length - PREMISE_ROOM) for n in _n_tokens(tokenizer, hypotheses)]
    room = max_length - _SEPARATORS
    return [i for i, n in enumerate(lengths) if n + answers[i] > room]


def _n_tokens(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    if not texts:
        return []
    return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
