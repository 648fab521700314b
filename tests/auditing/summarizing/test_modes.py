"""Failure modes: clusters of distances, vectors, words and questions sorted by hand."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from contraflow.auditing.summarizing.modes import cluster, cosine_distances, mode_labels
from contraflow.models.embedder import load_embedder
from support.sorted_questions import HELD_OUT, SORTED, mean_index


def angles(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_near_vectors_are_one_mode_and_far_ones_another() -> None:
    """1 - cos of 10 degrees is 0.015, of 80 degrees 0.83."""
    assert cluster(cosine_distances(angles(0, 10, 90, 5, 85)), 0.1) == [0, 0, 1, 0, 1]


def test_average_linkage_compares_means_of_distances() -> None:
    """Of 0, 24 and 36 degrees the last two are joined (0.022).

    0 is 0.086 and 0.191 from them, 0.139 on average: more than 0.1, though one is nearer.
    """
    distances = cosine_distances(angles(0, 24, 36))
    assert cluster(distances, max_distance=0.1) == [0, 1, 1]
    assert cluster(distances, max_distance=0.14) == [0, 0, 0]


def test_length_of_a_vector_does_not_matter() -> None:
    vectors = angles(0, 10, 90, 5, 85)
    longer = vectors * np.array([[1], [50], [0.01], [3], [1]])
    assert cosine_distances(longer) == pytest.approx(cosine_distances(vectors), abs=1e-12)


def test_few_and_empty_vectors() -> None:
    def modes(vectors: np.ndarray) -> list[int]:
        return cluster(cosine_distances(vectors), 0.1)

    assert modes(np.zeros((0, 3))) == []
    assert modes(np.zeros((1, 3))) == [0]
    assert modes(np.zeros((2, 3))) == [0, 1]
    assert modes(np.ones((3, 2))) == [0, 0, 0]


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
    """b is 0.4 from a and from c, which are 0.64 apart: it can join only one of them."""
    vectors = {"a": (0.6, 0.8, 0.0), "b": (1.0, 0.0, 0.0), "c": (0.6, 0.0, 0.8)}

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


class Same:
    """An encoder to which all texts are the same, and that keeps what it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, texts: list[str]) -> Tensor:
        self.read += texts
        return torch.ones(len(texts), 2)


def test_another_kind_of_thing_is_another_mode_if_it_is_far_too() -> None:
    """0.3 for the kind: alone below the threshold of 0.45, with 0.2 of the vectors above it."""
    texts = ["Who founded Apple?", "When was Apple founded?"]
    assert mode_labels(texts, Same(), "Apple") == [0, 0]

    def apart(texts: list[str]) -> Tensor:
        cos = 0.8
        return torch.tensor([(1.0, 0.0), (cos, (1 - cos**2) ** 0.5)][: len(texts)])

    assert mode_labels(texts, apart, "Apple") == [0, 1]
    assert mode_labels(["Who founded Apple?", "Who started Apple?"], apart, "Apple") == [0, 0]
    assert mode_labels(texts, None, "Apple") == [0, 1]


def test_the_encoder_does_not_see_the_subject() -> None:
    embed = Same()
    mode_labels(["Who founded Apple?", "Is APPLE big?", "Are pineapples big?"], embed, "Apple")
    assert sorted(embed.read) == ["Are pineapples big?", "Is this big?", "Who founded this?"]


@pytest.mark.slow
def test_modes_are_those_of_questions_sorted_by_hand() -> None:
    """Both sets; the encoder's vectors alone, of whole questions, at their own best threshold."""
    embed = load_embedder()

    def ours(texts: list[str], subject: str) -> list[int]:
        return mode_labels(texts, embed, subject)

    def of_vectors(texts: list[str], subject: str) -> list[int]:  # noqa: ARG001
        return cluster(cosine_distances(embed(texts).double().numpy()), 0.1)

    for subjects, least in ((SORTED, 0.75), (HELD_OUT, 0.6)):
        found = mean_index(subjects, ours)
        assert found > least
        assert found > mean_index(subjects, of_vectors) + 0.1


@pytest.mark.slow
def test_who_and_when_are_two_modes() -> None:
    texts = ["Who founded Apple?", "When was Apple founded?", "Who started the company Apple?"]
    assert mode_labels(texts, load_embedder(), "Apple") == [0, 1, 0]
