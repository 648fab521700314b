"""Failure modes: clusters of vectors, words and real questions; exact rarefaction."""

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from contraflow.auditing.modes import cluster, mode_labels, rarefaction
from contraflow.models.embedder import load_embedder


def angles(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_near_vectors_are_one_mode_and_far_ones_another() -> None:
    """1 - cos of 10 degrees is 0.015, of 80 degrees 0.83."""
    assert cluster(angles(0, 10, 90, 5, 85)) == [0, 0, 1, 0, 1]


def test_average_linkage_compares_means_of_distances() -> None:
    """Of 0, 24 and 36 degrees the last two are joined (0.022).

    0 is 0.086 and 0.191 from them, 0.139 on average: more than 0.1, though one is nearer.
    """
    assert cluster(angles(0, 24, 36), max_distance=0.1) == [0, 1, 1]
    assert cluster(angles(0, 24, 36), max_distance=0.14) == [0, 0, 0]


def test_length_of_a_vector_does_not_matter() -> None:
    vectors = angles(0, 10, 90, 5, 85)
    assert cluster(vectors * np.array([[1], [50], [0.01], [3], [1]])) == cluster(vectors)


def test_few_and_empty_vectors() -> None:
    assert cluster(np.zeros((0, 3))) == []
    assert cluster(np.zeros((1, 3))) == [0]
    assert cluster(np.zeros((2, 3))) == [0, 1]
    assert cluster(np.ones((3, 2))) == [0, 0, 0]


class Angles:
    """An encoder that reads a text's number as an angle, and keeps what it was asked."""

    def __call__(self, texts: list[str]) -> Tensor:
        return torch.tensor(angles(*[float(text.split()[-1]) for text in texts]))


def partition(texts: Sequence[str], labels: Sequence[int]) -> set[frozenset[str]]:
    return {
        frozenset(text for text, label in zip(texts, labels, strict=True) if label == of)
        for of in labels
    }


def test_labels_do_not_depend_on_the_order_of_questions() -> None:
    rng = np.random.default_rng(0)
    texts = [f"question {angle}" for angle in rng.uniform(0, 360, 40).round(1)]
    expected = partition(texts, mode_labels(texts, Angles()))
    assert 2 < len(expected) < 20
    for _ in range(5):
        rng.shuffle(texts)
        labels = mode_labels(texts, Angles())
        assert partition(texts, labels) == expected
        first_seen = list(dict.fromkeys(labels))
        assert first_seen == sorted(first_seen) == list(range(len(expected)))


def test_ties_are_broken_by_the_text_not_by_the_order() -> None:
    """b is 0.08 from a and from c, which are 0.15 apart: it can join only one of them."""
    side = (1 - 0.92**2) ** 0.5
    vectors = {"a": (0.92, side, 0.0), "b": (1.0, 0.0, 0.0), "c": (0.92, 0.0, side)}

    def embed(texts: list[str]) -> Tensor:
        return torch.tensor([vectors[text] for text in texts], dtype=torch.float64)

    found = {
        frozenset(partition(order, mode_labels(order, embed))) for order in permutations("abc")
    }
    assert len(found) == 1
    assert len(found.pop()) == 2


def test_equal_questions_share_their_mode() -> None:
    assert mode_labels(["a 0", "b 90", "a 0", "c 180"], Angles()) == [0, 1, 0, 2]
    assert mode_labels([], Angles()) == mode_labels([], None) == []


def test_words_join_questions_without_an_encoder() -> None:
    texts = [
        "Who wrote Hamlet?",
        "In which city was the writer of Hamlet born?",
        "who was it that wrote 'Hamlet'",
        "The writer of Hamlet was born in which city?",
        "What?",
    ]
    assert mode_labels(texts, None) == [0, 1, 0, 1, 2]


def brute_force(labels: Sequence[int], n_asked: int, at: int) -> float:
    """The mean number of different labels over all sets of questions that can be asked first."""
    asked = [*labels, *([None] * (n_asked - len(labels)))]
    counts = [
        len({label for label in first if label is not None}) for first in combinations(asked, at)
    ]
    return float(np.mean(counts))


@pytest.mark.parametrize(
    "labels",
    [[], [0], [0, 0, 0], [0, 1, 2, 3], [0, 0, 0, 1, 1, 2], [5, 5, 2, 2, 9, 9, 9, 9]],
)
def test_rarefaction_is_the_mean_over_all_orders(labels: list[int]) -> None:
    for n_asked in range(len(labels), 10):
        at = list(range(n_asked + 1))
        expected = [brute_force(labels, n_asked, m) for m in at]
        assert rarefaction(labels, n_asked, at) == pytest.approx(expected, abs=1e-10)


def test_rarefaction_of_many_questions_is_exact_at_its_ends() -> None:
    labels = [i % 700 for i in range(5000)]
    found = rarefaction(labels, 100_000, [0, 1, 50_000, 100_000])
    assert found[0] == pytest.approx(0.0, abs=1e-9)
    assert found[1] == pytest.approx(5000 / 100_000, rel=1e-12)
    assert found[3] == pytest.approx(700)
    assert found[0] < found[1] < found[2] <= found[3] + 1e-9


@pytest.mark.parametrize(("n_asked", "at"), [(2, [1]), (5, [6]), (5, [-1])])
def test_rarefaction_refuses_more_than_was_asked(n_asked: int, at: list[int]) -> None:
    with pytest.raises(ValueError, match="too many"):
        rarefaction([0, 0, 1], n_asked, at)


PLANTED = {
    "Hamlet": (
        ["Who wrote Hamlet?", "Who is the author of Hamlet?"],
        ["Where was the writer of Hamlet born?"],
    ),
    "Kenya": (
        ["What is the capital of Kenya?", "Which city is the capital of Kenya?"],
        ["Which languages are spoken in Kenya?", "What languages do people speak in Kenya?"],
        ["Where is the Kenyan parliament located?"],
    ),
    "Marie Curie": (
        ["In which city was Marie Curie born?", "What city was Marie Curie born in?"],
        ["Which prizes did Marie Curie win?", "What prizes were won by Marie Curie?"],
        ["Who was Marie Curie married to?"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("subject", list(PLANTED))
def test_packaged_encoder_separates_planted_wordings(subject: str) -> None:
    groups = PLANTED[subject]
    texts = [text for group in groups for text in group]
    labels = mode_labels(texts, load_embedder())
    assert labels == [i for i, group in enumerate(groups) for _ in group]
