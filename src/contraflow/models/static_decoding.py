"""Decoding with fixed shapes and addresses: one step is a fixed sequence of kernels, whatever the
texts are.

A step of a small model is as long as the host takes to start its kernels, a thousand or more
(docs/scaling.md). Here a text keeps its row and a finished one stays, unread; keys and values lie
in buffers of full length; the place to write, the positions and the mask are tensors that the step
itself moves on. On a GPU the step is recorded once per size and replayed (`capture.py`); on a CPU
the very same step runs unrecorded, and tests compare it with the eager decoder.

Sizes come in buckets, so that a few recordings serve a whole run: rows are rounded up, and when
half of them are done the rest moves to a smaller bucket; lengths are rounded up too, and what is
not used is masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from contraflow.models.attention import PrefixCache
from contraflow.models.capture import CaptureFailed, captured
from contraflow.models.causal_lm import CausalLM, Context
from contraflow.models.decoding import Decoder, EagerDecoder
from contraflow.system.progress import print_plain

ROWS, LENGTH = 8, 32  # the smallest bucket of rows, doubled as needed; lengths are multiples
MOST_STEPS = 32  # recorded at a time


def row_bucket(n: int) -> int:
    """The smallest power of two, 8 or more, that holds so many rows."""
    return max(ROWS, 1 << (n - 1).bit_length())


def length_bucket(n: int) -> int:
    """The smallest multiple of 32 that holds so many positions."""
    return -(-n // LENGTH) * LENGTH


class Room:
    """Memory for keys and values, layer by layer, which steps of every size use in turn."""

    def __init__(self, like: DynamicCache, positions: int) -> None:
        self.positions = positions
        # zeros: what is masked is still multiplied, by 0, and 0 times what memory happened to hold
        # may be NaN
        self.layers = [
            tuple(
                x.new_zeros(positions * x.shape[1] * x.shape[3]) for x in (layer.keys, layer.values)
            )
            for layer in like.layers
        ]


class _StaticLayer(DynamicLayer):
    """A cache layer that is as long as it can become; the next token is written where ``index``
    says.
    """

    def __init__(
        self, like: Any, room: tuple[Tensor, ...], rows: int, length: int, index: Tensor
    ) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = like.keys.dtype, like.keys.device, True
        self.keys, self.values = (
            memory[: rows * x.shape[1] * length * x.shape[3]].view(
                rows, x.shape[1], length, x.shape[3]
            )
            for memory, x in zip(room, (like.keys, like.values), strict=True)
        )
        self._index = index

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        self.keys.index_copy_(2, self._index, key_states)
        self.values.index_copy_(2, self._index, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return int(self.keys.shape[2])


@dataclass(frozen=True)
class Standing:
    """What n texts have been so far, w positions of each: enough to go on from anywhere."""

    layers: list[tuple[Float[Tensor, "n h w d"], Float[Tensor, "n h w d"]]]
    seen: Bool[Tensor, "n w"]  # padding on the left is not
    positions: Int[Tensor, "n 1"]  # of the next token

    @classmethod
    def behind(cls, context: Context, row: Int[Tensor, " n"]) -> Standing:
        """Behind these rows of a context, each named as often as texts go on from it."""
        layers = [(layer.keys[row], layer.values[row]) for layer in context.cache.layers]
        return cls(layers, context.mask[row].bool(), context.next_positions(1)[row])


class StaticStep:
    """Buffers for so many rows of so many positions, and the step over them."""

    def __init__(
        self,
        lm: CausalLM,
        prefix: PrefixCache,
        like: DynamicCache,
        room: Room,
        rows: int,
        length: int,
        actions: Int[Tensor, " a"] | None,
    ) -> None:
        self._lm, self._prefix, self._actions = lm, prefix, actions
        device, dtype = lm.device, like.layers[0].keys.dtype
        self._hidden_from = torch.finfo(dtype).min
        self._index = torch.zeros(1, dtype=torch.long, device=device)
        self._positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self._mask = torch.full((rows, 1, 1, length), self._hidden_from, dtype=dtype, device=device)
        self._cache = DynamicCache()
        self._cache.layers = [
            _StaticLayer(layer, memory, rows, length, self._index)
            for layer, memory in zip(like.layers, room.layers, strict=True)
        ]
        self.ids = torch.zeros(rows, 1, dtype=torch.long, device=device)
        width = len(lm.head.weight) if actions is None else len(actions)
        self.logits = torch.zeros(rows, width, device=device)
        self._head = (
            None if actions is None else lm.head_rows(actions)
        )  # a recording reads it where it lies
        self._go = captured(self._step, device)

    def _step(self) -> None:
        """Read ``ids`` at the next position of every row; leaves ``logits`` and moves on."""
        self._mask.index_fill_(3, self._index, 0.0)  # a number: a tensor would be read by the host
        hidden = self._lm.hidden_at(
            self.ids, self._mask, self._positions, self._cache, self._prefix
        )
        self.logits.copy_(self._lm.logits(hidden[:, -1], self._actions))
        self._index.add_(1)
        self._positions.add_(1)

    def go(self) -> None:
        """One step for all rows."""
        self._go()

    def stand(self, at: Standing) -> None:
        """Begin or go on from there."""
        n, width = at.seen.shape
        for layer, (keys, values) in zip(self._cache.layers, at.layers, strict=True):
            layer.keys[:n, :, :width], layer.values[:n, :, :width] = keys, values
        self._mask.fill_(self._hidden_from)
        self._mask[:n, 0, 0, :width].masked_fill_(at.seen, 0.0)
        self._index.fill_(width)
        self._positions.zero_()  # of rows without a text, whose count would run past the model's last position
        self._positions[:n] = at.positions

    def standing(self, row: Int[Tensor, " n"], width: int) -> Standing:
        """A copy of what these rows have written, ``width`` positions."""
        layers = [(x.keys[row, :, :width], x.values[row, :, :width]) for x in self._cache.layers]
        return Standing(layers, self._mask[row, 0, 0, :width] == 0, self._positions[row])


class StaticSteps:
    """The steps that have been made, by size; whoever decodes again and again keeps one of these.

    A step is bound to what was on the backbone when it was recorded: the sampler has its own, the
    oracle its own.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], StaticStep] = {}
        self._room: Room | None = None
        self.refused = False  # by the GPU, once and for all

    def of(
        self,
        lm: CausalLM,
        prefix: PrefixCache,
        like: DynamicCache,
        rows: int,
        length: int,
        actions: Int[Tensor, " a"] | None,
    ) -> StaticStep:
        """The step of a size, made at its first use. Raises: CaptureFailed."""
        key = (
            id(prefix),
            id(actions),
            lm.adapter is not None,
            rows,
            length,
        )  # a step holds what these name
        step = self._made.pop(key, None)
        if step is None:
            step = StaticStep(
                lm, prefix, like, self._room_for(like, rows * length), rows, length, actions
            )
        while len(self._made) >= MOST_STEPS:
            del self._made[next(iter(self._made))]
        self._made[key] = step  # the last used is the last to go
        return step

    def _room_for(self, like: DynamicCache, positions: int) -> Room:
        """The room that is there, or a larger one; steps in a smaller one keep it."""
        if self._room is None or self._room.positions < positions:
            try:
                self._room = Room(like, positions)
            except torch.OutOfMemoryError as error:
                raise CaptureFailed(
                    f"no memory for keys and values of {positions} positions"
                ) from error
        return self._room


class StaticDecoder:
    """A row a text; the first draw is from the context, since there texts stand together."""

    def __init__(
        self,
        lm: CausalLM,
        context: Context,
        n_tokens: int,
        actions: Int[Tensor, " a"] | None,
        made: StaticSteps,
    ) -> None:
        self._lm, self._context, self._actions, self._made = lm, context, actions, made
        self._width = context.mask.shape[1]
        self._length = length_bucket(self._width + n_tokens)
        self._step: StaticStep | None = None

    def logits(self) -> Float[Tensor, "r a"]:
        if self._step is None:
            return self._lm.logits(self._context.last_hidden, self._actions)
        return self._step.logits  # the next step writes all of it anew

    def advance(self, row: Int[Tensor, " n"], token: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        rows, step = row_bucket(len(row)), self._step
        if step is None:
            step, row = self._stand(rows, Standing.behind(self._context, row))
        elif rows < len(step.ids):
            step, row = self._stand(rows, step.standing(row, self._width))
        step.ids[row, 0] = token
        step.go()
        self._step = step
        self._width += 1
        return row

    def _stand(self, rows: int, at: Standing) -> tuple[StaticStep, Int[Tensor, " n"]]:
        """Go on in the step of a size, or, where it cannot be made, in the one that there is."""
        try:
            step = self._of_size(rows)
        except CaptureFailed:
            if self._step is None:
                raise
            step = self._step
        step.stand(at)  # after making it: recording a step runs it, in the memory that all share
        return step, torch.arange(len(at.seen), device=self._lm.device)

    def prepare(self, n_texts: int) -> None:
        """Make the step of the first size now. Raises: CaptureFailed, before anything was drawn."""
        self._of_size(row_bucket(n_texts))

    def _of_size(self, rows: int) -> StaticStep:
        context = self._context
        return self._made.of(
            self._lm, context.prefix, context.cache, rows, self._length, self._actions
        )


def start_decoding(
    lm: CausalLM,
    context: Context,
    n_texts: int,
    n_tokens: int,
    made: StaticSteps,
    actions: Int[Tensor, " a"] | None = None,
) -> Decoder:
    """A decoder of up to n tokens for each of so many texts, of the kind that ``lm.decoding`` asks
    for.
    """
    if lm.decodes_statically and not made.refused:
        static = StaticDecoder(lm, context, n_tokens, actions, made)
        try:
            static.prepare(n_texts)
            return static
        except CaptureFailed as error:
            made.refused = True
            print_plain(
                f"decoding goes on without CUDA graphs ({error}); model.decoding=eager does not try them"
            )
    return EagerDecoder(lm, context, n_tokens, actions)
