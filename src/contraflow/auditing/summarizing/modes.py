"""Failure modes: failing questions that mean the same.

Questions are clustered agglomeratively by average linkage: two clusters are joined while their
questions are on average at most a threshold apart. Their distance is the cosine distance of the
packaged encoder's vectors, with the subject masked, and more if they ask for another kind of thing
(`asked_for.py`). Both numbers were chosen on questions sorted by hand
(`tests/support/sorted_questions.py`): mean adjusted Rand index over seven subjects 0.80, where the
encoder alone has 0.39, and on seven more that were held out 0.65 and 0.50. So modes are a guide to
the eye.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from contraflow.auditing.summarizing.asked_for import asked_for, masked
from contraflow.text.words import content_stems

MAX_DISTANCE = 0.45
MAX_WORD_DISTANCE = 0.40  # two of three content words in common: 0.33; one of two: 0.5
OTHER_KIND = 0.3
OTHER_KIND_OF_WORDS = 0.5

# n texts -> [n, d]
Embed = Callable[[list[str]], Tensor]


def remembering(embed: Embed) -> Embed:
    """The same encoder, which reads a text once: modes are formed anew as failures are found."""
    vectors: dict[str, Tensor] = {}

    def embed_new(texts: list[str]) -> Tensor:
        new = [text for text in dict.fromkeys(texts) if text not in vectors]
        if new:
            vectors.update(zip(new, embed(new), strict=True))
        return torch.stack([vectors[text] for text in texts])

    return embed_new


def mode_labels(texts: Sequence[str], embed: Embed | None, subject: str = "") -> list[int]:
    """The mode of each question, numbered in order of first appearance.

    embed: an encoder of sentences; without one, questions are compared by their words, which finds
    other wordings of a question only where they share words. Which questions share a mode does not
    depend on the order of the texts, and equal texts always do.
    """
    unique = sorted(set(texts))
    if not unique:
        return []
    kinds = [asked_for(text, subject) for text in unique]
    if embed is None:
        distances = cosine_distances(_word_vectors(unique)) + OTHER_KIND_OF_WORDS * _differ(kinds)
        clusters = cluster(distances, MAX_WORD_DISTANCE)
    else:
        vectors = embed([masked(text, subject) for text in unique]).double().cpu().numpy()
        clusters = cluster(cosine_distances(vectors) + OTHER_KIND * _differ(kinds), MAX_DISTANCE)
    cluster_of = dict(zip(unique, clusters, strict=True))
    return _numbered([cluster_of[text] for text in texts])


def cosine_distances(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """1 - cos of each pair; a vector of zeros is like nothing, not even like another one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    distances: Float[np.ndarray, "n n"] = np.clip(1 - unit @ unit.T, 0, 2)
    return distances


def cluster(distances: Float[np.ndarray, "n n"], max_distance: float) -> list[int]:
    """Average-linkage clusters, numbered in order of first appearance."""
    n = len(distances)
    if n < 2:
        return [0] * n
    upper = distances[np.triu_indices(n, 1)]
    tree = linkage(upper, method="average")
    return _numbered([int(label) for label in fcluster(tree, max_distance, "distance")])


def _differ(kinds: Sequence[str]) -> Float[np.ndarray, "n n"]:
    """1 where two questions ask for different kinds of things."""
    kind = np.array(kinds)
    differ: Float[np.ndarray, "n n"] = (kind[:, None] != kind).astype(np.float64)
    return differ


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
