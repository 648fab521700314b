"""Scores of premise-hypothesis pairs in batches, shared by all judges.

Equal pairs are read once. All pairs are tokenized at once, batched by their number of tokens and
copied to the device together; the scores come back in one copy.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from contraflow.errors import UserError
from contraflow.models.transfer import packed_to_device
from contraflow.reward.judge.batching import encode_pairs

Batch = dict[str, Int[Tensor, "b t"]]
Network = Callable[[Batch], Float[Tensor, "b 3"]]


@dataclass(frozen=True)
class Rounding:
    """How far the shapes of a batch are rounded up, where every shape is recorded once.

    tokens: lengths are multiples of it.
    rows: allowed numbers of rows, and beyond the last one its multiples. Rows that are added repeat
        the first one.
    """

    tokens: int = 1
    rows: tuple[int, ...] = (1,)

    def n_tokens(self, n: int) -> int:
        """The length of a batch whose longest pair has n tokens."""
        return -(-n // self.tokens) * self.tokens

    def n_rows(self, n: int) -> int:
        """The rows of a batch of n pairs."""
        last = self.rows[-1]
        return next((rows for rows in self.rows if rows >= n), -(-n // last) * last)


EXACT = Rounding()


@dataclass(frozen=True)
class PairScorer:
    """Scores pairs by a network of tokenized batches.

    max_length: of a pair, in tokens; a longer one loses tokens of its premise.
    rounding: of the shapes that the network gets.
    """

    network: Network
    tokenizer: Any
    max_length: int
    batch_size: int
    device: torch.device | str = "cpu"
    rounding: Rounding = EXACT

    def __call__(self, premises: Sequence[str], hypotheses: Sequence[str]) -> Float[Tensor, "n 3"]:
        """Score pairs; rows are in the order given, in host memory.

        Raises: UserError for lists of unequal length.
        """
        if len(premises) != len(hypotheses):
            raise UserError(
                f"{len(premises)} premises but {len(hypotheses)} hypotheses; "
                "give one premise per hypothesis"
            )
        if not premises:
            return torch.zeros(0, 3)
        pairs = list(zip(premises, hypotheses, strict=True))
        number = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
        found = self._score_distinct([p for p, _ in number], [h for _, h in number])
        return found[[number[pair] for pair in pairs]]

    @torch.inference_mode()
    def _score_distinct(self, premises: list[str], hypotheses: list[str]) -> Float[Tensor, "n 3"]:
        encoded = encode_pairs(self.tokenizer, premises, hypotheses, self.max_length, padded=False)
        order = sorted(range(len(premises)), key=lambda row: len(encoded["input_ids"][row]))
        starts = range(0, len(order), self.batch_size)
        chunks = [order[start : start + self.batch_size] for start in starts]
        batches = self._batches(encoded, chunks)
        scores = [self.network(batch)[: len(c)] for batch, c in zip(batches, chunks, strict=True)]
        found = torch.empty(len(order), 3)
        found[order] = torch.cat(scores).float().cpu()
        return found

    def _batches(
        self, encoded: Mapping[str, Sequence[Sequence[int]]], chunks: Sequence[Sequence[int]]
    ) -> Iterator[Batch]:
        """The tokens of each chunk of rows, padded; one copy to the device for all."""
        arrays = []
        for chunk in chunks:
            n_added = self.rounding.n_rows(len(chunk)) - len(chunk)
            rows = [*chunk, *([chunk[0]] * n_added)]
            arrays += [
                self._padded(name, [lists[r] for r in rows]) for name, lists in encoded.items()
            ]
        moved = iter(packed_to_device(arrays, self.device))
        return ({name: next(moved) for name in encoded} for _ in chunks)

    def _padded(self, name: str, lists: Sequence[Sequence[int]]) -> Int[ndarray, "b t"]:
        values = {
            "input_ids": self.tokenizer.pad_token_id,
            "token_type_ids": self.tokenizer.pad_token_type_id,
        }
        width = self.rounding.n_tokens(max(map(len, lists)))
        filled = np.full((len(lists), width), values.get(name, 0), dtype=np.int64)
        for row, ids in enumerate(lists):
            start = width - len(ids) if self.tokenizer.padding_side == "left" else 0
            filled[row, start : start + len(ids)] = ids
        return filled
