"""Texts that are being written: the interface of choosing tokens, and their state as tensors.

Everything here is a sequence of tensor operations on fixed shapes, in which the host reads no
value. Therefore the same code chooses tokens in the eager loop and inside a recorded step
(`static_step.py`).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Now:
    """What a choice may depend on besides the logits."""

    step: Int[Tensor, " 1"]  # tokens written so far, the same for all texts
    noise: Float[Tensor, " n"]  # one uniform number in [0, 1) per text
    temperature: Float[Tensor, ""]


@dataclass(frozen=True)
class Chosen:
    """The choice of n texts.

    token: vocabulary id; not written where the text ends.
    ends: the text is complete without this token.
    log_p: what is added to the log-probability of the text, for the end too.
    """

    token: Int[Tensor, " n"]
    ends: Bool[Tensor, " n"]
    log_p: Float[Tensor, " n"]


class Chooser(Protocol):
    """Chooses the next token of every text by tensor operations that wait for no value.

    key: equal for choosers that run the same operations on the same tensors.
    """

    @property
    def key(self) -> Hashable: ...

    def __call__(self, logits: Float[Tensor, "r a"], row: Int[Tensor, " n"], now: Now) -> Chosen:
        """Choose for text i from the logits of row[i], which may be overwritten."""
        ...


@dataclass(frozen=True)
class Request:
    """How n texts are to be written.

    noise: uniform numbers in [0, 1), one per token and text, so that what a text becomes depends
        neither on the decoder nor on when other texts end.
    least: no text ends before so many tokens, so nobody has to ask.
    """

    chooser: Chooser
    noise: Float[Tensor, "t n"]
    temperature: Float[Tensor, ""]
    least: int = 0

    @property
    def n_tokens(self) -> int:
        """The most tokens of a text."""
        return int(self.noise.shape[0])

    @property
    def n_texts(self) -> int:
        return int(self.noise.shape[1])


@dataclass(frozen=True)
class Written:
    """n texts; ids beyond a text's length are 0.

    log_p: in float64, of all tokens and of the end, unless the text ended for want of tokens.
    """

    ids: Int[Tensor, "n t"]
    lengths: Int[Tensor, " n"]
    log_p: Float[Tensor, " n"]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """One row per text in each."""
        return self.ids, self.lengths, self.log_p

    @classmethod
    def nothing(cls, n: int, n_tokens: int, device: torch.device) -> Written:
        """n empty texts."""
        return cls(
            torch.zeros(n, n_tokens, dtype=torch.long, device=device),
            torch.zeros(n, dtype=torch.long, device=device),
            torch.zeros(n, dtype=torch.double, device=device),
        )


class Texts:
    """n texts being written, in tensors that are changed in place and keep their addresses."""

    def __init__(self, n: int, n_tokens: int, device: torch.device) -> None:
        self.written = Written.nothing(n, n_tokens, device)
        self.going = torch.zeros(n, dtype=torch.bool, device=device)
        self.noise = torch.zeros(n_tokens, n, device=device)
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        self.temperature = torch.ones((), device=device)

    def begin_(self, request: Request) -> None:
        """Begin the texts of a request in the first rows, all empty; the rest are finished."""
        n = request.n_texts
        for tensor in (*self._by_row(), self.step):
            tensor.zero_()
        self.going[:n] = True
        self.noise[:, :n] = request.noise
        self.temperature.copy_(request.temperature)

    @property
    def now(self) -> Now:
        """The inputs of the next choice."""
        return Now(self.step, self.noise.index_select(0, self.step)[0], self.temperature)

    def add_(self, chosen: Chosen) -> None:
        """Append the chosen tokens to the unfinished texts, and end those that end here."""
        written = self.written
        written.log_p.add_(chosen.log_p.masked_fill(~self.going, 0.0))
        self.going.logical_and_(chosen.ends.logical_not())
        token = chosen.token.masked_fill(~self.going, 0)
        written.ids.index_copy_(1, self.step, token[:, None])
        written.lengths.add_(self.going)
        # A recording runs the step a few times more than there may be tokens.
        self.step.add_(1).clamp_(max=len(self.noise) - 1)

    def take_(self, other: Texts, row: Int[Tensor, " n"]) -> None:
        """Continue the given rows of other texts in the first n rows; the rest are finished."""
        n = len(row)
        for mine, theirs in zip(self._by_row(), other._by_row(), strict=True):
            mine[:n] = theirs[row]
        self.going[n:] = False
        self.noise[:, :n] = other.noise[:, row]
        self.step.copy_(other.step)
        self.temperature.copy_(other.temperature)

    def _by_row(self) -> tuple[Tensor, ...]:
        return *self.written.tensors, self.going
