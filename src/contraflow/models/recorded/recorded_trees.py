"""Passes over token trees on a GPU: recorded once per shape as CUDA graphs, and replayed.

Reading 64 prompts takes gpt2-large 7 ms of kernels for the sampler and 18 for the oracle; starting
these kernels takes the host 25 to 40 ms, also where the layers are compiled (docs/gpu.md). Trees
are padded to a multiple of `NODES`, so that shapes come up again, and a shape that comes up a
second time is recorded: passes without a gradient as one recording, passes that are learned from as
a forward and a backward one (`recorded_gradient.py`).

Each new recording is compared with the pass itself; where they differ by more than rounding, or
where a GPU refuses to record, one line says so and nothing is recorded any more.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache

from contraflow.models.attention.shared_prefix import PrefixCache
from contraflow.models.capture import CaptureFailed, captured, first_line, free_memory
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.cache_memory import layer_states
from contraflow.models.layers.adapted_linear import adapter_state
from contraflow.models.layers.recompute import recomputes
from contraflow.models.layers.tree_layers import ROUNDING_ERROR
from contraflow.models.prefilled import cache_of_one_pass
from contraflow.models.recorded.recorded_gradient import RecordedGradient, Turns
from contraflow.models.recorded.recorded_tree import (
    another,
    largest,
    load,
    n_bytes,
    relative_difference,
)
from contraflow.models.recordings import Recordings
from contraflow.models.token_tree import TokenTree
from contraflow.system.progress import print_plain

NODES = 64  # rows of a tree are padded to a multiple of so many nodes
MOST_BYTES = 2 << 30  # that the recordings of one model hand out
LEAST_FREE = 0.2  # of a GPU's memory, or nothing more is recorded: plain passes need memory too


class _Pass(Protocol):
    """A recorded pass of one shape."""

    @property
    def out_bytes(self) -> int:
        """Bytes of the tensors that a replay writes and that stay allocated."""
        ...

    @property
    def pool(self) -> Any:
        """Its memory, for other recordings of the kind."""
        ...

    def hidden(self, tree: TokenTree, cache: DynamicCache | None) -> Float[Tensor, "m d"]:
        """The last hidden states by flat node; fills the cache."""
        ...

    def check(self, tree: TokenTree) -> float:
        """The largest relative difference of a replay from the pass itself. Waits for a GPU."""
        ...


class RecordedTrees:
    """`CausalLM.tree_hidden`, recorded on a GPU where the model decodes by recordings.

    Args:
        always: record on other devices too, where a recording only runs again: for tests.
    """

    def __init__(self, lm: CausalLM, *, always: bool = False) -> None:
        self._lm = lm
        self._always = always
        self._failed: set[bool] = set()  # of passes with and without a gradient
        self._states: dict[Hashable, int] = {}
        self._seen: dict[Hashable, int] = {}  # the bytes that a shape hands out
        self._recordings: Recordings[Hashable, _Pass] = Recordings()
        self._turns = Turns()

    @property
    def records(self) -> bool:
        """Whether passes are recorded now."""
        on_gpu = self._lm.device.type == "cuda" and self._lm.decodes_statically
        return (self._always or on_gpu) and len(self._failed) < 2

    @property
    def multiple(self) -> int:
        """What the rows of a tree are to be padded to (`TokenTree.of`)."""
        return NODES if self.records else 1

    @property
    def n_recordings(self) -> int:
        return len(self._recordings)

    def hidden(
        self, prefix: PrefixCache, tree: TokenTree, cache: DynamicCache | None = None
    ) -> Float[Tensor, "m d"]:
        """Read a token tree after a prefix, as `CausalLM.tree_hidden` does.

        What is returned, and what fills the cache, is in memory of its own.
        """
        if not self.records or not self._recordable(cache):
            return self._lm.tree_hidden(prefix, tree, cache)
        self._recordings.next_pass()
        key = (self._state(), id(prefix), tuple(tree.ids.shape), cache is not None)
        recording = self._recordings.get(key)
        seen = self._seen.get(key)
        if recording is None and seen is not None and self._makes_room(seen):
            recording = self._record(key, prefix, tree, cached=cache is not None)
        if recording is None:
            hidden = self._lm.tree_hidden(prefix, tree, cache)
            handed_out = [hidden, *([] if cache is None else layer_states(cache))]
            if torch.is_grad_enabled():
                handed_out += [hidden, *self._trained()]  # and their gradients
            self._seen[key] = n_bytes(handed_out)
            return hidden
        return recording.hidden(tree, cache)

    def release(self) -> None:
        """Free the recordings and their memory; one that is needed later is made again."""
        self._recordings.drop()

    def _recordable(self, cache: DynamicCache | None) -> bool:
        """Gradients are recorded for an adapter that is on, in layers that run only once."""
        learns = torch.is_grad_enabled()
        if learns in self._failed or torch.is_inference_mode_enabled():
            return False
        if not learns:
            return True
        lm = self._lm
        if cache is not None or lm.adapter is None or recomputes(lm.layers.blocks):
            return False
        is_on = any(not layer.disable_adapters for layer in lm.layers.adapted(lm.adapter))
        return is_on and any(weight.requires_grad for weight in self._trained())

    def _trained(self) -> list[nn.Parameter]:
        """The weights of the adapter, in the layers of every kind that it has wrapped."""
        layers = [] if self._lm.adapter is None else self._lm.layers.adapted(self._lm.adapter)
        parts = (getattr(layer, name) for layer in layers for name in layer.adapter_layer_names)
        return [weight for part in parts for weight in part.parameters()]

    def _state(self) -> int:
        """What a recording is bound to: the adapter that is on, where weights lie, and gradients.

        With the adapter off it does not matter which one is there.
        """
        lm = self._lm
        layers = [] if lm.adapter is None else lm.layers.adapted(lm.adapter)
        is_off = all(layer.disable_adapters and not layer.merged for layer in layers)
        adapter: Hashable = None
        if not is_off:
            scales = (getattr(layer, "scaling", None) for layer in layers)
            adapter = (
                adapter_state(lm),
                tuple((w.data_ptr(), w.requires_grad) for w in self._trained()),
                tuple(tuple(scale.items()) for scale in scales if isinstance(scale, dict)),
            )
        modes = (torch.is_grad_enabled(), lm.model.training, torch.is_autocast_enabled())
        # A number in its place, since it names hundreds of tensors.
        return self._states.setdefault((adapter, lm.layers.places(), modes), len(self._states))

    def _record(
        self, key: Hashable, prefix: PrefixCache, tree: TokenTree, *, cached: bool
    ) -> _Pass | None:
        """Record a shape; None, said once, where the GPU refuses or replays something else."""
        try:
            recording = self._new(prefix, tree, cached=cached)
            bound = ROUNDING_ERROR.get(self._lm.head.weight.dtype, 0.0)
            difference = recording.check(tree)
            if not difference <= bound:
                raise CaptureFailed(f"a recording differs from the pass by {difference:.0e}")
        except (CaptureFailed, torch.OutOfMemoryError) as error:
            reason = first_line(error)[:120]
        else:
            self._recordings.keep(key, recording)
            return recording
        self._give_up(reason)
        return None

    def _give_up(self, reason: str) -> None:
        """Record no more passes of this kind, and free those that are there."""
        learns = torch.is_grad_enabled()
        self._failed.add(learns)
        self._recordings.drop(lambda made: isinstance(made, RecordedGradient) == learns)
        free_memory()
        what = "learning goes on" if learns else "prompts are read"
        print_plain(f"{what} without CUDA graphs, which is slower ({reason})")

    def _new(self, prefix: PrefixCache, tree: TokenTree, *, cached: bool) -> _Pass:
        kind = RecordedGradient if torch.is_grad_enabled() else RecordedReading
        same = (r for r in self._recordings.made if isinstance(r, kind))
        pool = next((r.pool for r in same), None)
        if kind is RecordedGradient:
            return RecordedGradient(self._lm, prefix, tree, self._turns, pool)
        return RecordedReading(self._lm, prefix, tree, pool, cached=cached)

    def _makes_room(self, n: int) -> bool:
        """Drop recordings that are no longer used until n more bytes fit; whether they do."""

        def fits() -> bool:
            return sum(made.out_bytes for made in self._recordings.made) + n <= MOST_BYTES

        return _has_memory(self._lm.device) and self._recordings.make_room(fits)


def _has_memory(device: torch.device) -> bool:
    """Whether a GPU has enough memory left, that of PyTorch's cache included."""
    if device.type != "cuda":
        return True
    free, total = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + cached >= LEAST_FREE * total


class RecordedReading:
    """A pass without a gradient over trees of one shape.

    Raises: CaptureFailed.
    """

    def __init__(
        self, lm: CausalLM, prefix: PrefixCache, tree: TokenTree, pool: Any, *, cached: bool
    ) -> None:
        self._lm = lm
        self._prefix = prefix
        self._cached = cached
        self._tree = another(tree)
        self._out: list[Tensor] = []  # hidden states, then keys and values of each layer
        recording = captured(self._step, lm.device, pool)
        self._run = recording.run
        self.pool = recording.pool

    @property
    def out_bytes(self) -> int:
        return n_bytes(self._out)

    def _step(self) -> None:
        cache = cache_of_one_pass() if self._cached else None
        hidden = self._lm.tree_hidden(self._prefix, self._tree, cache)
        self._out = [hidden, *([] if cache is None else layer_states(cache))]

    def hidden(self, tree: TokenTree, cache: DynamicCache | None) -> Float[Tensor, "m d"]:
        load(self._tree, tree)
        self._run()
        # Copies: another replay would write over what the recording hands out.
        copies = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in self._out]
        torch._foreach_copy_(copies, self._out)
        hidden, *states = copies
        if cache is not None:
            for number in range(len(states) // 2):
                cache.update(states[2 * number], states[2 * number + 1], number)
        return hidden

    def check(self, tree: TokenTree) -> float:
        plain_cache = cache_of_one_pass() if self._cached else None
        found_cache = cache_of_one_pass() if self._cached else None
        # The pass first: it overwrites memory that a recording may read after it was freed.
        plain = [self._lm.tree_hidden(self._prefix, tree, plain_cache)]
        found = [self.hidden(tree, found_cache)]
        if plain_cache is not None and found_cache is not None:
            plain += _by_node(plain_cache)
            found += _by_node(found_cache)
        return largest(relative_difference(a, b) for a, b in zip(found, plain, strict=True))


def _by_node(cache: DynamicCache) -> list[Float[Tensor, "m w"]]:
    """Keys and values of each layer, the heads of a node side by side."""
    return [states.transpose(1, 2).flatten(2).flatten(0, 1) for states in layer_states(cache)]
