"""Diversity numbers; each expected number is derived beside it."""

import math
import time

import pytest
import torch

from contraflow.evaluation.diversity import (
    distinct_n,
    distinct_share,
    mean_cosine_distance,
    self_bleu,
    vendi_score,
)


def test_distinct_share_forgives_case_and_punctuation() -> None:
    assert distinct_share(["Who wrote Emma?", "who wrote 'Emma'?", "When?", "Where?"]) == 3 / 4
    assert math.isnan(distinct_share([]))


def test_distinct_n_counts_ngrams_over_all_questions() -> None:
    questions = ["a b c?", "a b d?"]  # words: a b c a b d; pairs: ab bc ab bd
    assert distinct_n(questions, 1) == 4 / 6
    assert distinct_n(questions, 2) == 3 / 4
    assert distinct_n(questions, 3) == 1
    assert math.isnan(distinct_n(questions, 4))


def test_self_bleu_of_identical_questions_is_one() -> None:
    assert self_bleu(["Who wrote the novel Emma?"] * 5) == pytest.approx(1)
    assert self_bleu(["Who wrote?"] * 3) == pytest.approx(1)  # fewer words than orders


def test_self_bleu_of_two_questions_by_hand() -> None:
    """ "a b c" against "a b d", of equal length.

    2/3 of the words, 1/2 of the pairs and 0.1/1 of the triples match.
    """
    expected = (2 / 3 * 1 / 2 * 0.1) ** (1 / 3)
    assert self_bleu(["a b c?", "a b d?"]) == pytest.approx(expected)


def test_self_bleu_clips_counts_and_penalizes_brevity() -> None:
    """ "b b": only one b matches, 1/2, and no pair, 0.1/1; its reference has 4 words: exp(1 - 4/2).

    "b c d e": 1/4, 0.1/3, 0.1/2, 0.1/1 and no penalty.
    """
    short = (1 / 2 * 0.1) ** (1 / 2) * math.exp(1 - 4 / 2)
    long = (1 / 4 * 0.1 / 3 * 0.1 / 2 * 0.1) ** (1 / 4)
    assert self_bleu(["b b?", "b c d e?"]) == pytest.approx((short + long) / 2)


def test_self_bleu_agrees_with_a_slow_loop() -> None:
    questions = [
        "who wrote emma",
        "who wrote emma and who read emma",
        "who read it",
        "what is emma about",
        "who",
    ]

    def grams(text: str, n: int) -> list[tuple[str, ...]]:
        words = text.split()
        return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]

    def bleu(place: int) -> float:
        text, others = questions[place], questions[:place] + questions[place + 1 :]
        logs = []
        for n in range(1, min(4, len(text.split())) + 1):
            own = grams(text, n)
            hits = sum(
                min(own.count(g), max(grams(o, n).count(g) for o in others)) for g in set(own)
            )
            logs.append(math.log((hits or 0.1) / len(own)))
        length = len(text.split())
        reference = min((len(o.split()) for o in others), key=lambda r: (abs(r - length), r))
        return math.exp(sum(logs) / len(logs) + min(0, 1 - reference / length))

    assert self_bleu(questions) == pytest.approx(
        sum(map(bleu, range(len(questions)))) / len(questions)
    )


def test_self_bleu_of_a_thousand_questions_takes_seconds_at_most() -> None:
    questions = [f"What is the number {i} of the book by {i % 37}?" for i in range(1000)]
    start = time.perf_counter()
    self_bleu(questions)
    assert time.perf_counter() - start < 3


def test_one_question_has_no_self_bleu() -> None:
    assert math.isnan(self_bleu(["Who wrote Emma?"]))


def test_vendi_counts_effective_meanings() -> None:
    assert vendi_score(torch.ones(6, 4)) == pytest.approx(1)
    assert vendi_score(torch.eye(5)) == pytest.approx(5)
    two_of_each = torch.eye(3).repeat(2, 1)
    assert vendi_score(two_of_each) == pytest.approx(3)
    assert math.isnan(vendi_score(torch.empty(0, 4)))


def test_vendi_of_two_rows_at_sixty_degrees() -> None:
    """K/2 has eigenvalues (1 ± 1/2)/2 = 3/4 and 1/4, whatever the lengths of the rows."""
    rows = torch.tensor([[3.0, 0.0], [0.5, math.sqrt(3) / 2]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert vendi_score(rows) == pytest.approx(math.exp(entropy), abs=1e-6)


def test_mean_cosine_distance_is_the_mean_over_pairs() -> None:
    rows = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    pairs = [
        1 - torch.cosine_similarity(rows[i], rows[j], dim=0).item()
        for i in range(7)
        for j in range(7)
        if i != j
    ]
    assert mean_cosine_distance(rows) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    assert mean_cosine_distance(torch.eye(4)) == pytest.approx(1)
    assert math.isnan(mean_cosine_distance(torch.ones(1, 3)))
