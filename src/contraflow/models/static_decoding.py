"""Decoding with fixed shapes and addresses: every step is the same sequence of kernels.

A decoding step of a small model takes as long as the host needs to launch its kernels, a thousand
or more (docs/scaling.md). With fixed shapes and addresses, a GPU can record the step once per size
and replay it (`capture.py`). Therefore each text keeps its row, and a finished text stays without
being read; keys and values lie in buffers of full length; and the write index, the positions and
the mask are tensors that the step itself updates. On a CPU the same step runs unrecorded, and
tests compare it with the eager decoder.

Sizes are rounded up to buckets, so that few recordings serve a whole run. When half of the rows
are finished, the others move to a smaller bucket. Unused positions are masked.
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

MIN_ROWS = 8
LENGTH_MULTIPLE = 32
MOST_STEPS = 32  # recordings kept at a time


def row_bucket(n: int) -> int:
    """Return the smallest power of two, at least 8, that is not below n rows."""
    return max(MIN_ROWS, 1 << (n - 1).bit_length())


def length_bucket(n: int) -> int:
    """Return the smallest multiple of 32 that is not below n positions."""
    return -(-n // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


class CacheMemory:
    """Memory for the keys and values of each layer, shared by the steps of all sizes."""

    def __init__(self, like: DynamicCache, positions: int) -> None:
        self.positions = positions
        self.layers: list[tuple[Tensor, Tensor]] = []
        for layer in like.layers:
            # Zeros, as masked values are multiplied by 0 and uninitialized memory may hold NaN.
            self.layers.append((_zeros(layer.keys, positions), _zeros(layer.values, positions)))


def _zeros(like: Float[Tensor, "b h s d"], positions: int) -> Tensor:
    return like.new_zeros(positions * like.shape[1] * like.shape[3])


class _StaticLayer(DynamicLayer):
    """A cache layer of full length; the next token is written at position `index`."""

    def __init__(
        self, like: Any, memory: tuple[Tensor, Tensor], rows: int, length: int, index: Tensor
    ) -> None:
        super().__init__()
        self.dtype = like.keys.dtype
        self.device = like.keys.device
        self.is_initialized = True
        self.keys = _view(memory[0], like.keys, rows, length)
        self.values = _view(memory[1], like.values, rows, length)
        self._index = index

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        self.keys.index_copy_(2, self._index, key_states)
        self.values.index_copy_(2, self._index, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return int(self.keys.shape[2])


def _view(memory: Tensor, like: Float[Tensor, "b h s d"], rows: int, length: int) -> Tensor:
    """View the start of a flat tensor as [rows heads length head_dim]."""
    heads = like.shape[1]
    dim = like.shape[3]
    return memory[: rows * heads * length * dim].view(rows, heads, length, dim)


@dataclass(frozen=True)
class DecodingState:
    """Keys, values, mask and positions of n texts of w positions: enough to continue them."""

    layers: list[tuple[Float[Tensor, "n h w d"], Float[Tensor, "n h w d"]]]
    visible: Bool[Tensor, "n w"]  # False for padding on the left
    positions: Int[Tensor, "n 1"]  # of the next token

    @classmethod
    def after_prefill(cls, context: Context, row: Int[Tensor, " n"]) -> DecodingState:
        """The state of n texts that continue the given rows of a context; rows may repeat."""
        layers = [(layer.keys[row], layer.values[row]) for layer in context.cache.layers]
        return cls(layers, context.mask[row].bool(), context.next_positions(1)[row])


class StaticStep:
    """Buffers for a fixed number of rows and positions, and the decoding step over them.

    Set `ids` [rows 1], call `run`, read `logits` [rows a].
    """

    def __init__(
        self,
        lm: CausalLM,
        prefix: PrefixCache,
        like: DynamicCache,
        memory: CacheMemory,
        rows: int,
        length: int,
        actions: Int[Tensor, " a"] | None,
    ) -> None:
        self._lm = lm
        self._prefix = prefix
        self._actions = actions
        device = lm.device
        dtype = like.layers[0].keys.dtype
        self._masked = torch.finfo(dtype).min  # added to the scores of invisible positions
        self._index = torch.zeros(1, dtype=torch.long, device=device)
        self._positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self._mask = torch.full((rows, 1, 1, length), self._masked, dtype=dtype, device=device)
        self._cache = DynamicCache()
        self._cache.layers = [
            _StaticLayer(layer, layer_memory, rows, length, self._index)
            for layer, layer_memory in zip(like.layers, memory.layers, strict=True)
        ]
        self.ids = torch.zeros(rows, 1, dtype=torch.long, device=device)
        width = len(lm.head.weight) if actions is None else len(actions)
        self.logits = torch.zeros(rows, width, device=device)
        # A recording reads these tensors at their address, so they must stay alive.
        self._head = None if actions is None else lm.head_rows(actions)
        self._run = captured(self._step, device)

    def _step(self) -> None:
        """Read `ids` at the next position of every row, write `logits`, increment positions."""
        # The fill value is a number: the host would have to read a tensor.
        self._mask.index_fill_(3, self._index, 0.0)
        hidden = self._lm.hidden_static(
            self.ids, self._mask, self._positions, self._cache, self._prefix
        )
        self.logits.copy_(self._lm.logits(hidden[:, -1], self._actions))
        self._index.add_(1)
        self._positions.add_(1)

    def run(self) -> None:
        """Run one step for all rows."""
        self._run()

    def load(self, state: DecodingState) -> None:
        """Continue from a state; its n texts are placed in the first n rows."""
        n, width = state.visible.shape
        for layer, (keys, values) in zip(self._cache.layers, state.layers, strict=True):
            layer.keys[:n, :, :width] = keys
            layer.values[:n, :, :width] = values
        self._mask.fill_(self._masked)
        self._mask[:n, 0, 0, :width].masked_fill_(state.visible, 0.0)
        self._index.fill_(width)
        # Rows without a text restart at 0, or their count would exceed the model's last position.
        self._positions.zero_()
        self._positions[:n] = state.positions

    def save(self, row: Int[Tensor, " n"], width: int) -> DecodingState:
        """Copy the first `width` positions of the given rows."""
        layers = [(x.keys[row, :, :width], x.values[row, :, :width]) for x in self._cache.layers]
        return DecodingState(layers, self._mask[row, 0, 0, :width] == 0, self._positions[row])


class StaticSteps:
    """Cache of static steps by size, for a caller that decodes repeatedly.

    A step is bound to the adapter that was active when it was recorded, so the sampler and the
    oracle have one cache each.
    """

    def __init__(self) -> None:
        self._steps: dict[tuple[Any, ...], StaticStep] = {}
        self._memory: CacheMemory | None = None
        self.capture_failed = False  # the GPU refused a recording; do not try again

    def get(
        self,
        lm: CausalLM,
        prefix: PrefixCache,
        like: DynamicCache,
        rows: int,
        length: int,
        actions: Int[Tensor, " a"] | None,
    ) -> StaticStep:
        """Return the step of a size; create it at its first use. Raises: CaptureFailed."""
        # The step holds prefix and actions, so their ids stay unique while it is cached.
        key = (id(prefix), id(actions), lm.adapter is not None, rows, length)
        step = self._steps.pop(key, None)
        if step is None:
            memory = self._memory_for(like, rows * length)
            try:
                step = StaticStep(lm, prefix, like, memory, rows, length, actions)
            except torch.OutOfMemoryError as error:
                raise CaptureFailed(
                    f"no memory for mask and logits of {rows} texts of {length} positions"
                ) from error
        while len(self._steps) >= MOST_STEPS:
            del self._steps[next(iter(self._steps))]
        self._steps[key] = step  # inserted last: the least recently used step is evicted first
        return step

    def release(self) -> None:
        """Free recordings and memory; a step that is needed later is created again."""
        self._steps.clear()
        self._memory = None

    def _memory_for(self, like: DynamicCache, positions: int) -> CacheMemory:
        """Return the current memory or allocate a larger one; older steps keep theirs."""
        if self._memory is None or self._memory.positions < positions:
            try:
                self._memory = CacheMemory(like, positions)
            except torch.OutOfMemoryError as error:
                raise CaptureFailed(
                    f"no memory for keys and values of {positions} positions"
                ) from error
        return self._memory


class StaticDecoder:
    """One row per text. The first logits come from the context, where texts share rows."""

    def __init__(
        self,
        lm: CausalLM,
        context: Context,
        n_tokens: int,
        actions: Int[Tensor, " a"] | None,
        steps: StaticSteps,
    ) -> None:
        self._lm = lm
        self._context = context
        self._actions = actions
        self._steps = steps
        self._width = context.mask.shape[1]
        self._length = length_bucket(self._width + n_tokens)
        self._step: StaticStep | None = None

    def logits(self) -> Float[Tensor, "r a"]:
        if self._step is None:
            return self._lm.logits(self._context.last_hidden, self._actions)
        return self._step.logits  # the caller may overwrite it: the next step rewrites all of it

    def advance(self, row: Int[Tensor, " n"], token: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        rows = row_bucket(len(row))
        step = self._step
        if step is None:
            step, row = self._load(rows, DecodingState.after_prefill(self._context, row))
        elif rows != len(step.ids) or _branches(row):
            step, row = self._load(rows, step.save(row, self._width))
        step.ids[row, 0] = token
        step.run()
        self._step = step
        self._width += 1
        return row

    def _load(self, rows: int, state: DecodingState) -> tuple[StaticStep, Int[Tensor, " n"]]:
        """Load a state into the step of a size; return the step and the rows of the texts.

        If that step cannot be recorded, the current one is used.
        """
        try:
            step = self._step_of(rows)
        except CaptureFailed:
            if self._step is None or len(self._step.ids) < rows:
                raise
            step = self._step
        # Load after creating the step: recording runs it, in the memory that all steps share.
        step.load(state)
        return step, torch.arange(len(state.visible), device=self._lm.device)

    def prepare(self, n_texts: int) -> None:
        """Create the first step, before any token is sampled. Raises: CaptureFailed."""
        self._step_of(row_bucket(n_texts))

    def _step_of(self, rows: int) -> StaticStep:
        context = self._context
        return self._steps.get(
            self._lm, context.prefix, context.cache, rows, self._length, self._actions
        )


def _branches(row: Int[Tensor, " n"]) -> bool:
    """Whether several texts continue one row, so that its keys must be copied."""
    return len(row.unique()) < len(row)


def start_decoding(
    lm: CausalLM,
    context: Context,
    n_texts: int,
    n_tokens: int,
    steps: StaticSteps,
    actions: Int[Tensor, " a"] | None = None,
) -> Decoder:
    """Return a decoder for up to `n_tokens` tokens of `n_texts` texts, as `lm.decoding` requires.

    Falls back to the eager decoder, with a message, if a GPU refuses to record the step.
    """
    if lm.decodes_statically and not steps.capture_failed:
        decoder = StaticDecoder(lm, context, n_tokens, actions, steps)
        try:
            decoder.prepare(n_texts)
            return decoder
        except CaptureFailed as error:
            steps.capture_failed = True
            steps.release()
            print_plain(
                f"decoding goes on without CUDA graphs ({error}); "
                "model.decoding=eager does not try them"
            )
    return EagerDecoder(lm, context, n_tokens, actions)
