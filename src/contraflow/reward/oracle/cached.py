"""Answers in batches, each different question once: what every local oracle does around a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from contraflow.types import Answer

T = TypeVar("T")


class AnswerCache:
    """Answers by question, the oldest of them dropped beyond `size`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.answers: dict[str, Answer] = {}

    def answer(
        self,
        questions: Sequence[str],
        batches: Callable[[list[str]], Iterator[list[str]]],
        generate: Callable[[list[str]], list[Answer]],
    ) -> list[Answer]:
        """Answer the questions in their order; equal questions get equal answers.

        Args:
            batches: splits the new questions, sorted by length.
            generate: answers one batch.
        """
        # Sorted by length: little padding. The text makes the order independent of the hash seed.
        new = sorted(set(questions) - self.answers.keys(), key=lambda q: (len(q), q))
        for batch in batches(new):
            self.answers.update(zip(batch, generate(batch), strict=True))
        answers = [self.answers[q] for q in questions]
        # Oldest first: dictionaries keep the order of insertion.
        for question in list(self.answers)[: max(0, len(self.answers) - self.size)]:
            del self.answers[question]
        return answers


def in_chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Split into lists of `size`, the last one shorter."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def of_equal_length(items: Sequence[T], length: Callable[[T], int], size: int) -> Iterator[list[T]]:
    """Split into lists of at most `size` whose items have one length, the shortest first.

    Rows of one length need no padding. Padding is harmless for models that take an attention mask
    and position ids, but not for states (Mamba), nor for wrappers of editors that look at the last
    token of each row.
    """
    for _, group in groupby(sorted(items, key=length), key=length):
        yield from in_chunks(list(group), size)
