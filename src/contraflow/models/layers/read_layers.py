"""The compiled layers of a backbone, for reading prompts before they are continued.

Reading the prompts of a batch is one pass of many tokens. Uncompiled, starting its thousand kernels
takes the host as long as ten decoding steps take the GPU. A layer is compiled once for all layers
and for any number of rows and tokens. The keys and values that it makes are part of its result, as
compiled code must not see the cache, which differs between layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from contraflow.models.attention.shared_prefix import PrefixCache, layer_prefix
from contraflow.models.causal_lm import CausalLM
from contraflow.models.layers import step_layers
from contraflow.system.progress import print_plain

_CACHE = "the cache"  # stands for it among the arguments of compiled code


class ReadLayers:
    """Compiles the layers of a model for `CausalLM.prefill`, where `model.compile` says so."""

    def __init__(self, lm: CausalLM) -> None:
        self._lm = lm
        self._run: Any = None
        self.compile_failed = False

    @contextmanager
    def active(self, prefix: PrefixCache) -> Iterator[None]:
        """Let `prefill` run compiled layers within the block."""
        blocks = self._lm.layers.blocks if self._lm.compiles and not self.compile_failed else []
        before = [block.__dict__.get("forward") for block in blocks]
        if self._run is None and blocks:
            # Checks of sizes at every call would be half of what compiling saves.
            inductor = step_layers.BACKEND == "inductor"
            options: Any = {"size_asserts": False} if inductor else None
            self._run = torch.compile(
                _read, backend=step_layers.BACKEND, fullgraph=True, dynamic=True, options=options
            )
        try:
            for number, block in enumerate(blocks):
                pair = prefix.layers[number] if prefix.length else None
                block.forward = partial(self._forward, block, number, pair)
            with step_layers.room_for_sizes():
                yield
        finally:
            for block, forward in zip(blocks, before, strict=True):
                block.__dict__.pop("forward", None)
                if forward is not None:
                    block.__dict__["forward"] = forward

    def _forward(
        self,
        block: nn.Module,
        number: int,
        prefix: tuple[Tensor, Tensor] | None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        caches = [x for x in (*args, *kwargs.values()) if isinstance(x, DynamicCache)]
        marked = [_CACHE if isinstance(x, DynamicCache) else x for x in args]
        named = {k: _CACHE if isinstance(x, DynamicCache) else x for k, x in kwargs.items()}
        with layer_prefix(prefix):
            if len(caches) == 1 and not self.compile_failed:
                try:
                    out, keys, values = self._run(block, marked, named)
                except torch.OutOfMemoryError:
                    raise
                # Whatever dynamo, inductor, triton or a C++ compiler raises.
                except Exception as error:
                    self._decline(error)
                else:
                    caches[0].update(keys, values, number)
                    return out
            return type(block).forward(block, *args, **kwargs)

    def _decline(self, error: Exception) -> None:
        self.compile_failed = True
        print_plain(
            f"reading prompts goes on without torch.compile ({step_layers.first_line(error)}); "
            "model.compile=off does not try it"
        )


class _Made:
    """A cache that keeps what one layer makes."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def update(
        self, keys: Tensor, values: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of a layer."""
        self.keys = keys
        self.values = values
        return keys, values


def _read(
    block: nn.Module, args: list[Any], kwargs: dict[str, Any]
) -> tuple[Any, Tensor | None, Tensor | None]:
    made = _Made()
    inputs = [made if isinstance(x, str) else x for x in args]
    named = {name: made if isinstance(x, str) else x for name, x in kwargs.items()}
    out = type(block).forward(block, *inputs, **named)
    return out, made.keys, made.values
