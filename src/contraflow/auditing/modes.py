"""Failure modes: failing questions that mean the same, and how many modes a search finds.

Questions are clustered agglomeratively by average linkage: two clusters are joined while their
questions are on average at most a threshold apart, in cosine distance. The threshold for the
packaged encoder is from hand-sorted questions about five subjects (adjusted Rand index, mean 0.50
at 0.10 to 0.12, lower on either side): "Who wrote Hamlet?" and "Who is the author of Hamlet?" are
0.05 apart, "Where was the writer of Hamlet born?" is 0.12 and 0.13 from them. An encoder of
sentences sees the subject before the relation, so modes are a guide to the eye: "Who founded
Apple?" and "When was Apple founded?" are one at any useful threshold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from contraflow.text.words import content_stems

MAX_DISTANCE = 0.10
MAX_WORD_DISTANCE = 0.40  # two of three content words in common: 0.33; one of two: 0.5

# n texts -> [n, d]
Embed = Callable[[list[str]], Tensor]


def mode_labels(texts: Sequence[str], embed: Embed | None) -> list[int]:
    """The mode of each question, numbered in order of first appearance.

    embed: an encoder of sentences; without one, questions are compared by their words, which finds
    other wordings of a question only where they share words. Which questions share a mode does not
    depend on the order of the texts, and equal texts always do.
    """
    unique = sorted(set(texts))
    if not unique:
        return []
    if embed is None:
        clusters = cluster(_word_vectors(unique), MAX_WORD_DISTANCE)
    else:
        clusters = cluster(embed(unique).double().cpu().numpy(), MAX_DISTANCE)
    cluster_of = dict(zip(unique, clusters, strict=True))
    return _numbered([cluster_of[text] for text in texts])


def cluster(embeddings: Float[np.ndarray, "n d"], max_distance: float = MAX_DISTANCE) -> list[int]:
    """Average-linkage clusters by cosine distance, numbered in order of first appearance.

    A vector of zeros is like nothing, not even like another one.
    """
    n = len(embeddings)
    if n < 2:
        return [0] * n
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit = embeddings / np.where(lengths > 0, lengths, 1)
    distances = np.clip(1 - unit @ unit.T, 0, 2)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), method="average")
    return _numbered([int(label) for label in fcluster(tree, max_distance, "distance")])


def rarefaction(labels_of_failing: Sequence[int], n_asked: int, at: Sequence[int]) -> list[float]:
    """Expected number of different labels among the failing ones after `at` questions.

    The n_asked questions are asked in random order. A label of c questions is among the first m
    with probability 1 - C(N - c, m) / C(N, m) (Hurlbert 1971).
    Raises: ValueError for more failing questions than asked ones, or more questions than asked.
    """
    if len(labels_of_failing) > n_asked or any(not 0 <= m <= n_asked for m in at):
        raise ValueError(
            f"{len(labels_of_failing)} failing of {n_asked} asked, at={list(at)}: too many"
        )
    sizes = Counter(Counter(labels_of_failing).values())
    if not sizes:
        return [0.0 for _ in at]
    found = _share_found(max(sizes), n_asked, np.asarray(at, dtype=np.int64))
    return [float(v) for v in sum(times * found[size - 1] for size, times in sizes.items())]


def _share_found(most: int, n: int, at: Int[np.ndarray, " p"]) -> Float[np.ndarray, "c p"]:
    """1 - C(n - c, m) / C(n, m) for c = 1 … most.

    The quotient is the product of (n - m - i) / (n - i) over i < c.
    """
    left = n - np.arange(most)[:, None]
    with np.errstate(divide="ignore"):  # nothing is missed once n - m is used up
        log_missed = np.cumsum(np.log1p(-np.minimum(1, at / left)), axis=0)
    found: Float[np.ndarray, "c p"] = -np.expm1(log_missed)
    return found


def _word_vectors(texts: Sequence[str]) -> Float[np.ndarray, "n v"]:
    """1 for the stem of each content word of a text."""
    sets = [content_stems(text) for text in texts]
    vocabulary = {word: i for i, word in enumerate(sorted(set().union(*sets)))}
    vectors = np.zeros((len(texts), max(1, len(vocabulary))))
    for row, of_text in enumerate(sets):
        vectors[row, [vocabulary[word] for word in of_text]] = 1
    return vectors


def _numbered(clusters: Sequence[int]) -> list[int]:
    numbers = {label: i for i, label in enumerate(dict.fromkeys(clusters))}
    return [numbers[label] for label in clusters]
