"""Diversity of the questions about one fact, by words and by embeddings.

Every function takes the questions of *one* fact. Over many facts the subjects alone would make any
questions look diverse, so callers compute the measure per fact and then average.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.text.tokens import words

BLEU_ORDERS = (1, 2, 3, 4)
BLEU_EPSILON = 0.1  # stands for zero matches, as in NLTK's smoothing method 1

Gram = tuple[str, ...]


def distinct_share(questions: Sequence[str]) -> float:
    """Return distinct questions over all questions, ignoring case and punctuation; NaN if empty."""
    return len(set(map(same_text_key, questions))) / len(questions) if questions else math.nan


def distinct_n(questions: Sequence[str], order: int) -> float:
    """Return distinct n-grams over all n-grams; NaN if there are none.

    Li et al. 2016, "A Diversity-Promoting Objective Function".
    """
    grams = [gram for question in questions for gram in _grams(same_text_key(question), order)]
    return len(set(grams)) / len(grams) if grams else math.nan


def self_bleu(questions: Sequence[str]) -> float:
    """Return the mean BLEU-4 of each question against all others; 1 when all are the same.

    Zhu et al. 2018, "Texygen". A question with fewer than four words uses as many orders as it has
    words. Smoothed like NLTK's method 1. NaN for fewer than two questions. The cost is linear in
    the number of n-grams: the two highest counts of each n-gram give every question the highest
    count among the others.
    """
    if len(questions) < 2:
        return math.nan
    tokens = [same_text_key(question) for question in questions]
    log_precisions: list[list[float]] = [[] for _ in tokens]
    for order in BLEU_ORDERS:
        for found, precision in zip(log_precisions, _precisions(tokens, order), strict=True):
            if precision > 0:
                found.append(math.log(precision))
    penalties = _log_brevity_penalties([len(question) for question in tokens])
    scores = [
        math.exp(penalty + sum(found) / len(found)) if found else 0.0
        for penalty, found in zip(penalties, log_precisions, strict=True)
    ]
    return sum(scores) / len(scores)


def mean_cosine_distance(embeddings: Float[Tensor, "n d"]) -> float:
    """Return the mean of 1 - cosine over all pairs of different rows; NaN for fewer than two rows.

    The cosines of all ordered pairs sum to |sum of unit rows|^2; n of these pairs are a row with
    itself.
    """
    n = embeddings.shape[0]
    if n < 2:
        return math.nan
    total = _unit_rows(embeddings).sum(0).square().sum().item()
    return 1 - (total - n) / (n * (n - 1))


def vendi_score(embeddings: Float[Tensor, "n d"]) -> float:
    """Return the effective number of different rows: 1 if all are the same, n if orthogonal.

    Friedman & Dieng 2023: exp of the entropy of the eigenvalues of K / n, where K holds the
    cosines. NaN for no rows.
    """
    n = embeddings.shape[0]
    if n == 0:
        return math.nan
    unit = _unit_rows(embeddings)
    eigenvalues = torch.linalg.eigvalsh(unit @ unit.T / n).clamp(min=0)
    return float(torch.special.entr(eigenvalues).sum().exp())


def same_text_key(question: str) -> Gram:
    """Equal for questions that differ in case and punctuation only."""
    return tuple(word.casefold() for word in words(question))


def _grams(tokens: Gram, order: int) -> list[Gram]:
    return [tokens[start : start + order] for start in range(len(tokens) - order + 1)]


def _precisions(tokens: Sequence[Gram], order: int) -> list[float]:
    """Clipped n-gram precision of each text against all others; 0 for a text without n-grams."""
    counts = [Counter(_grams(text, order)) for text in tokens]
    # n-gram -> the text with the highest count, this count, the highest count of another text
    highest: dict[Gram, tuple[int, int, int]] = {}
    for text, counted in enumerate(counts):
        for gram, count in counted.items():
            holder, first, second = highest.get(gram, (-1, 0, 0))
            if count > first:
                highest[gram] = (text, count, first)
            else:
                highest[gram] = (holder, first, max(second, count))
    return [_precision(text, counted, highest) for text, counted in enumerate(counts)]


def _precision(
    text: int, counted: Counter[Gram], highest: dict[Gram, tuple[int, int, int]]
) -> float:
    total = counted.total()
    if total == 0:
        return 0.0
    matched = 0
    for gram, count in counted.items():
        holder, first, second = highest[gram]
        matched += min(count, second if holder == text else first)
    return (matched or BLEU_EPSILON) / total


def _log_brevity_penalties(lengths: Sequence[int]) -> list[float]:
    """min(0, 1 - r / c) for each length c.

    r is the length among the others that is closest to c; of two equally close, the shorter.
    """
    counted = Counter(lengths)
    penalties: dict[int, float] = {}
    for length, count in counted.items():
        others = [other for other in counted if other != length or count > 1]
        closest = min(others, key=lambda other: (abs(other - length), other))
        penalties[length] = min(0.0, 1 - closest / length) if length else 0.0
    return [penalties[length] for length in lengths]


def _unit_rows(embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows scaled to length 1, in double precision.

    A cosine must not depend on how the encoder scales its output.
    """
    return torch.nn.functional.normalize(embeddings.detach().double(), dim=1)
