"""Greedy answers by tensor operations that wait for no value."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from contraflow.models.decoding.texts import Chosen, Now, Request


class Ending:
    """Takes the likeliest token; the given ones end the text."""

    def __init__(self, ids: Int[Tensor, " e"], vocabulary: int) -> None:
        self.ids = ids
        # A table, as `isin` sorts and waits.
        self._ends = torch.zeros(vocabulary, dtype=torch.bool, device=ids.device)
        self._ends.index_fill_(0, ids, True)

    @property
    def key(self) -> Hashable:
        # The recorded step holds this object, so that the id stays unique.
        return ("greedy", id(self))

    def __call__(self, logits: Float[Tensor, "r v"], row: Int[Tensor, " n"], now: Now) -> Chosen:
        del now  # the likeliest token needs neither noise nor a temperature
        log_p, token = (x[row] for x in logits.log_softmax(-1).max(-1))
        return Chosen(token, self._ends.index_select(0, token), log_p)


def greedy(ending: Ending, n_tokens: int, n: int) -> Request:
    """Ask for n texts of up to ``n_tokens`` tokens, written greedily."""
    device = ending.ids.device
    noise = torch.zeros(1, 1, device=device).expand(n_tokens, n)
    return Request(ending, noise, torch.ones((), device=device))
