"""The layers of a backbone as a decoding step runs them: fewer kernels, the same results.

1. A linear layer with an adapter takes three kernels (`adapted_linear.py`).
2. The forward pass of a layer is compiled (`torch.compile`) for each size, once for all layers:
   norms, activations, residuals, masks and the softmax become a few kernels. All that differs
   between layers is passed as tensors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.dlpack import from_dlpack
from transformers import DynamicCache

from contraflow.models.attention.shared_prefix import Buffers, PrefixCache, layer_prefix
from contraflow.models.causal_lm import CausalLM
from contraflow.models.layers.adapted_linear import AdaptedLinear, join_within, lean_layer, refresh

COMPILING = "torch.compile"
FUSED = "the fused attention"
FUSED_ON = ("cuda",)
JOINED_ON = ("cuda",)
JOINED_BYTES = 512 << 20  # of copied weights, at most


class CompileFailed(Exception):
    """The layer could not be compiled; the message is one line."""


class StepLayers:
    """Runs the layers of a model for decoding steps, with the adapter in its present state."""

    def __init__(self, lm: CausalLM, declined: Collection[str] = ()) -> None:
        backbone = getattr(lm.model, cast(Any, lm.model).base_model_prefix)
        self._blocks = lm.layers.blocks
        optimized = lm.compiles and bool(self._blocks)
        self.compiled = optimized and COMPILING not in declined
        self.fused = optimized and lm.device.type in FUSED_ON and FUSED not in declined
        self._compiled_run = compiled_layer() if self.compiled else None
        self._adapted: list[AdaptedLinear] = []
        self._places: list[tuple[nn.Module, str, nn.Module]] = []
        dtype = lm.head.weight.dtype
        for parent in backbone.modules():
            for name, layer in parent.named_children():
                lean = lean_layer(layer, dtype)
                if lean is not None:
                    self._places.append((parent, name, lean))
        self._adapted = [m for _, _, m in self._places if isinstance(m, AdaptedLinear)]
        if optimized and lm.device.type in JOINED_ON:
            join_within(self._adapted, JOINED_BYTES)
        self.refresh()

    def refresh(self) -> None:
        """Use the present weights of the adapter."""
        refresh(self._adapted)

    @contextmanager
    def active(self, cache: DynamicCache, prefix: PrefixCache) -> Iterator[None]:
        """Let the backbone run these layers within the block, over a static cache."""
        before = [(parent, name, parent._modules[name]) for parent, name, _ in self._places]
        forwards = [block.__dict__.get("forward") for block in self._blocks]
        try:
            for parent, name, layer in self._places:
                parent._modules[name] = layer
            if self.compiled or self.fused:
                for number, block in enumerate(self._blocks):
                    block.forward = partial(
                        self._forward, block, cache, cache.layers[number], _pair(prefix, number)
                    )
            yield
        finally:
            for parent, name, original in before:
                parent._modules[name] = original
            for block, forward in zip(self._blocks, forwards, strict=True):
                block.__dict__.pop("forward", None)
                if forward is not None:
                    block.__dict__["forward"] = forward

    def _forward(
        self,
        block: nn.Module,
        cache: DynamicCache,
        layer: Any,
        prefix: tuple[Tensor, Tensor] | None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        buffers = _buffers(layer)
        own = OneLayer(buffers, writes=not self.fused)
        args = tuple(own if x is cache else x for x in args)
        kwargs = {name: own if x is cache else x for name, x in kwargs.items()}
        run = _run_block if self._compiled_run is None else self._compiled_run
        with layer_prefix(prefix, buffers if self.fused else None):
            return run(block, args, kwargs)

    def simplify(self) -> str:
        """Do without what may have failed, and name it: the fused attention, then compiling."""
        if self.fused:
            self.fused = False
            return FUSED
        self.compiled = False
        self._compiled_run = None
        return COMPILING

    def try_out(self, step: Callable[[], None]) -> float:
        """Run a step for the first time, which compiles its layers; return the seconds.

        In it the fused attention compares itself with the tensor products (`attention_check.py`).

        Raises: CompileFailed, after which `simplify` and another try may help.
        """
        if not (self.compiled or self.fused):
            return 0.0
        started = time.monotonic()
        try:
            with room_for_sizes():
                step()
            if torch.cuda.is_available():  # an error of a kernel shows when it has run
                torch.cuda.synchronize()
        except torch.OutOfMemoryError:
            raise
        # Whatever dynamo, inductor, triton or a C++ compiler raises: the layers run uncompiled.
        except Exception as error:
            raise CompileFailed(first_line(error)) from error
        return time.monotonic() - started


class OneLayer:
    """The cache of one layer: what compiled code sees is the same for every layer."""

    def __init__(self, buffers: Buffers, *, writes: bool) -> None:
        self.buffers = buffers
        self.writes = writes

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the next position of every row, or leave it to the fused attention.

        The number of the layer is not read.
        """
        if not self.writes:
            return key_states, value_states
        own = self.buffers
        own.keys.index_copy_(2, own.index, key_states)
        own.values.index_copy_(2, own.index, value_states)
        return own.keys, own.values


def _run_block(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return type(block).forward(block, *args, **kwargs)


BACKEND = "inductor"
MOST_SIZES = 128  # compiled sizes of one layer; dynamo's own limit is 8


def compiled_layer() -> Callable[..., Any]:
    """`_run_block`, compiled for each size at its first use; it is one graph, or an error."""
    run: Callable[..., Any] = torch.compile(
        _run_block, backend=BACKEND, fullgraph=True, dynamic=False
    )
    return run


def first_line(error: Exception) -> str:
    """What went wrong while compiling, in one line."""
    cause = getattr(error, "inner_exception", error)
    lines = [line for line in str(cause).splitlines() if line.strip()] or [""]
    return f"{type(cause).__name__}: {lines[0][:160]}"


@contextmanager
def room_for_sizes() -> Iterator[None]:
    """Let a layer be compiled for many sizes within the block."""
    limits = {"recompile_limit": MOST_SIZES, "accumulated_recompile_limit": 8 * MOST_SIZES}
    with cast(Any, torch._dynamo.config).patch(limits):
        yield


def _buffers(layer: Any) -> Buffers:
    """Keys and values of a static layer, as tensors of storages of their own over its memory.

    Where two changed inputs of a compiled graph are views of one storage, inductor copies it at
    every call. They are made once, before a GPU records the step.
    """
    found: Buffers | None = getattr(layer, "buffers", None)
    if found is None:
        keys, values = (from_dlpack(x.detach()) for x in (layer.keys, layer.values))
        found = layer.buffers = Buffers(keys, values, layer.index)
    return found


def _pair(prefix: PrefixCache, number: int) -> tuple[Tensor, Tensor] | None:
    return prefix.layers[number] if prefix.length else None
