"""How different the questions about one fact are: by words and by meaning.

Every function takes the questions of *one* fact. Over many facts the subjects alone would make any
questions look diverse, so callers compute per fact and then average.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.text.match import words

BLEU_ORDERS = (1, 2, 3, 4)
BLEU_EPSILON = 0.1  # matches counted where there are none, as NLTK's smoothing method 1 does

Gram = tuple[str, ...]


def distinct_share(questions: Sequence[str]) -> float:
    """Share of the questions that are left when case, punctuation and repeats are taken away; NaN
    of none.
    """
    return len(set(map(_tokens, questions))) / len(questions) if questions else math.nan


def distinct_n(questions: Sequence[str], order: int) -> float:
    """Different n-grams over all n-grams (Li et al. 2016, "A Diversity-Promoting Objective
    Function").
    """
    grams = [gram for question in questions for gram in _grams(_tokens(question), order)]
    return len(set(grams)) / len(grams) if grams else math.nan


def self_bleu(questions: Sequence[str]) -> float:
    """Mean BLEU-4 of each question against all others (Zhu et al. 2018, "Texygen"): 1 when all are
    the same.

    Up to four orders, as many as a question has words; smoothed like NLTK's method 1; NaN of fewer
    than two. Linear in the number of n-grams: the two highest counts of each tell every question
    what others have.
    """
    if len(questions) < 2:
        return math.nan
    tokens = [_tokens(question) for question in questions]
    log_precisions: list[list[float]] = [[] for _ in tokens]
    for order in BLEU_ORDERS:
        for found, precision in zip(log_precisions, _precisions(tokens, order), strict=True):
            if precision > 0:
                found.append(math.log(precision))
    penalties = _log_brevity_penalties([len(words_of) for words_of in tokens])
    scores = [
        math.exp(penalty + sum(found) / len(found)) if found else 0.0
        for penalty, found in zip(penalties, log_precisions, strict=True)
    ]
    return sum(scores) / len(scores)


def mean_cosine_distance(embeddings: Float[Tensor, "n d"]) -> float:
    """Mean of 1 - cosine over all pairs of different rows; NaN of fewer than two.

    The cosines of all ordered pairs sum to |sum of unit rows|^2, of which n belong to a row with
    itself.
    """
    n = embeddings.shape[0]
    if n < 2:
        return math.nan
    total = _unit_rows(embeddings).sum(0).square().sum().item()
    return 1 - (total - n) / (n * (n - 1))


def vendi_score(embeddings: Float[Tensor, "n d"]) -> float:
    """Effective number of different rows (Friedman & Dieng 2023): 1 when all are the same, n when
    orthogonal.

    exp of the entropy of the eigenvalues of K / n, where K holds the cosines; NaN of none.
    """
    n = embeddings.shape[0]
    if n == 0:
        return math.nan
    unit = _unit_rows(embeddings)
    eigenvalues = torch.linalg.eigvalsh(unit @ unit.T / n).clamp(min=0)
    return float(torch.special.entr(eigenvalues).sum().exp())


def _tokens(question: str) -> Gram:
    return tuple(word.casefold() for word in words(question))


def _grams(tokens: Gram, order: int) -> list[Gram]:
    return [tokens[start : start + order] for start in range(len(tokens) - order + 1)]


def _precisions(tokens: Sequence[Gram], order: int) -> list[float]:
    """Clipped n-gram precision of each text against all others together; 0 where it has no n-gram."""
    counts = [Counter(_grams(words_of, order)) for words_of in tokens]
    highest: dict[
        Gram, tuple[int, int, int]
    ] = {}  # n-gram -> holder, its count, the highest of the others
    for place, counted in enumerate(counts):
        for gram, count in counted.items():
            holder, first, second = highest.get(gram, (-1, 0, 0))
            highest[gram] = (
                (place, count, first) if count > first else (holder, first, max(second, count))
            )
    return [_precision(place, counted, highest) for place, counted in enumerate(counts)]


def _precision(
    place: int, counted: Counter[Gram], highest: dict[Gram, tuple[int, int, int]]
) -> float:
    total = counted.total()
    if total == 0:
        return 0.0
    matched = 0
    for gram, count in counted.items():
        holder, first, second = highest[gram]
        matched += min(count, second if holder == place else first)
    return (matched or BLEU_EPSILON) / total


def _log_brevity_penalties(lengths: Sequence[int]) -> list[float]:
    """min(0, 1 - r / c), with r the length among the others that is closest to c (the shorter of
    two).
    """
    counted = Counter(lengths)
    penalties: dict[int, float] = {}
    for length, count in counted.items():
        others = [other for other in counted if other != length or count > 1]
        closest = min(others, key=lambda other: (abs(other - length), other))
        penalties[length] = min(0.0, 1 - closest / length) if length else 0.0
    return [penalties[length] for length in lengths]


def _unit_rows(embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of length 1 in double precision; a cosine may not depend on how the encoder scales its
    output.
    """
    return torch.nn.functional.normalize(embeddings.detach().double(), dim=1)
