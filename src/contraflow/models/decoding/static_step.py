"""One decoding step with fixed shapes and addresses, which a GPU can record and replay.

Keys and values lie in buffers of full length; the write index, the positions and the mask are
tensors that the step itself updates. With a chooser, the step also chooses the tokens and writes
them down, so that the host need not read anything between two tokens.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from contraflow.models.attention.shared_prefix import PrefixCache
from contraflow.models.capture import captured
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.cache_memory import CacheMemory, KeySource, PackedKeys, SavedKeys
from contraflow.models.decoding.texts import Chooser, Texts
from contraflow.models.layers.step_layers import StepLayers
from contraflow.models.prefilled import Prefilled

MIN_ROWS = 8
LENGTH_MULTIPLE = 32
SHRINK = 4  # a bucket that is half as large saves less than it costs to make


def row_bucket(n: int) -> int:
    """Return the smallest power of two, at least 8, that is not below n rows."""
    return max(MIN_ROWS, 1 << (n - 1).bit_length())


def length_bucket(n: int) -> int:
    """Return the smallest multiple of 32 that is not below n positions."""
    return -(-n // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


@dataclass(frozen=True)
class Size:
    """The shapes of a step: rows, and positions of each."""

    rows: int
    length: int

    @classmethod
    def of(cls, n_texts: int, width: int, n_tokens: int) -> Size:
        """The bucket for texts of `width` positions and up to `n_tokens` more."""
        return cls(row_bucket(n_texts), length_bucket(width + n_tokens))

    def holding(self, n_texts: int) -> Size:
        """The size to continue n of the texts in: the same one, unless far fewer rows are left."""
        rows = row_bucket(n_texts)
        return Size(rows, self.length) if rows * SHRINK <= self.rows else self


@dataclass(frozen=True)
class Writing:
    """The part of a step that chooses up to `n_tokens` tokens a text and writes them down."""

    chooser: Chooser
    n_tokens: int

    @property
    def key(self) -> Hashable:
        return (self.chooser.key, self.n_tokens)


class StaticLayer(DynamicLayer):
    """A cache layer of full length; the next token is written at position `index`."""

    def __init__(
        self, keys: Float[Tensor, "b h s d"], values: Float[Tensor, "b h s d"], index: Tensor
    ) -> None:
        super().__init__()
        self.dtype = keys.dtype
        self.device = keys.device
        self.is_initialized = True
        self.keys = keys
        self.values = values
        self.index = index

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        self.keys.index_copy_(2, self.index, key_states)
        self.values.index_copy_(2, self.index, value_states)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return int(self.keys.shape[2])


@dataclass(frozen=True)
class DecodingState:
    """Keys, values, mask and positions of n texts of w positions: enough to continue them."""

    keys: KeySource
    visible: Bool[Tensor, "n w"]  # False for padding on the left
    positions: Int[Tensor, "n 1"]  # of the next token

    @classmethod
    def after_prefill(cls, prompts: Prefilled, row: Int[Tensor, " n"]) -> DecodingState:
        """The state of n texts that continue the given prompts; rows may repeat."""
        keys = PackedKeys.of(prompts.cache, prompts.nodes[row])
        return cls(keys, prompts.mask[row].bool(), prompts.next_positions(1)[row])


class StaticStep:
    """Buffers for a fixed number of rows and positions, and the decoding step over them.

    Without `writing`: set `ids` [rows 1], call `run`, read `logits` [rows a]. With it, `run` reads
    the tokens that were chosen last and adds the next ones to `texts`.

    Raises: CompileFailed when the layers cannot be compiled; CaptureFailed.
    """

    def __init__(
        self,
        lm: CausalLM,
        prefix: PrefixCache,
        like: DynamicCache,
        memory: CacheMemory,
        size: Size,
        actions: Int[Tensor, " a"] | None,
        layers: StepLayers,
        writing: Writing | None = None,
        pool: Any = None,
    ) -> None:
        self._lm = lm
        self._prefix = prefix
        self._actions = actions
        self._layers = layers
        self._writing = writing
        self.size = size
        rows, length = size.rows, size.length
        device = lm.device
        dtype = like.layers[0].keys.dtype
        self._masked = torch.finfo(dtype).min  # added to the scores of invisible positions
        self._index = torch.zeros(1, dtype=torch.long, device=device)
        self._positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self._mask = torch.full((rows, 1, 1, length), self._masked, dtype=dtype, device=device)
        self._blocks = memory.blocks(rows, length)
        states = {
            number: block.states[place]
            for block in self._blocks
            for place, number in enumerate(block.numbers)
        }
        self._cache = DynamicCache()
        self._cache.layers = [
            StaticLayer(states[2 * number], states[2 * number + 1], self._index)
            for number in range(len(like.layers))
        ]
        self.ids = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.texts = Texts(rows, 0 if writing is None else writing.n_tokens, device)
        self._row = torch.arange(rows, device=device)
        width = len(lm.head.weight) if actions is None else len(actions)
        self.logits = torch.zeros(rows if writing is None else 0, width, device=device)
        # A recording reads these tensors at their address, so they must stay alive.
        with torch.no_grad():  # as steps are taken
            self._head = lm.copied_head() if actions is None else lm.head_rows(actions)
        self.compile_seconds = layers.try_out(self._step)
        recording = captured(self._step, device, pool)
        self._run = recording.run
        self.pool = recording.pool

    def _step(self) -> None:
        """Read `ids` at the next position of every row; write what follows; move on."""
        # The fill value is a number: the host would have to read a tensor.
        self._mask.index_fill_(3, self._index, 0.0)
        with self._layers.active(self._cache, self._prefix):
            hidden = self._lm.hidden_static(
                self.ids, self._mask, self._positions, self._cache, self._prefix
            )
        logits = self._lm.logits(hidden[:, -1], self._actions)
        if self._writing is None:
            self.logits.copy_(logits)
        else:
            chosen = self._writing.chooser(logits, self._row, self.texts.now)
            self.texts.add_(chosen)
            self.ids.copy_(chosen.token[:, None])
        self._index.add_(1)
        self._positions.add_(1)

    def run(self) -> None:
        """Run one step for all rows."""
        self._run()

    def load(self, state: DecodingState) -> None:
        """Continue from a state; its n texts are placed in the first n rows."""
        if self._head is not None:
            self._head.follows(self._lm.head)  # a head that was edited in place
        n, width = state.visible.shape
        state.keys.write_to(self._blocks)
        self._mask.fill_(self._masked)
        self._mask[:n, 0, 0, :width].masked_fill_(state.visible, 0.0)
        self._index.fill_(width)
        # Rows without a text restart at 0, or their count would exceed the model's last position.
        self._positions.zero_()
        self._positions[:n] = state.positions

    def save(self, row: Int[Tensor, " n"], width: int) -> DecodingState:
        """Copy the first `width` positions of the given rows."""
        keys = SavedKeys.of(self._blocks, row, width)
        return DecodingState(keys, self._mask[row, 0, 0, :width] == 0, self._positions[row])
