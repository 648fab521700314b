"""The compiled layers of a backbone, for passes over token trees.

Uncompiled, starting the kernels of a pass takes the host several times as long as running them
takes the GPU. A layer is compiled (`torch.compile`) once for all layers and for any number of rows
and nodes: all that differs between layers is passed as tensors.

The first layer that is compiled, with and without gradients, is compared with the same layer
uncompiled; where they differ by more than rounding, no layer is compiled any more.

Passes whose layers run again in the backward pass (`recompute.py`) are not compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from contraflow.models.attention.shared_prefix import PrefixCache, layer_prefix
from contraflow.models.causal_lm import CausalLM
from contraflow.system.progress import print_plain

BACKEND = "inductor"
# One for each of: adapter on or off, with or without gradients, one row or several.
MOST_VARIANTS = 32
# Relative difference of states and of their gradient, by the precision of the weights.
ROUNDING_ERROR = {torch.float32: 1e-2, torch.bfloat16: 0.2, torch.float16: 0.05}

_TINY = 1e-12


class CompiledWrong(Exception):
    """A compiled layer's results are not those of the layer."""


class TreeLayers:
    """Compiles the layers of a model where `model.compile` says so."""

    def __init__(self, lm: CausalLM) -> None:
        self._lm = lm
        self._run: Callable[..., Any] | None = None
        self._tried: set[bool] = set()  # with and without gradients
        self.compile_failed = False

    @contextmanager
    def active(self, prefix: PrefixCache) -> Iterator[None]:
        """Let the backbone run compiled layers within the block, after a prefix."""
        blocks = self._lm.layers.blocks if self._lm.compiles and not self.compile_failed else []
        if not blocks or any("forward" in block.__dict__ for block in blocks):
            yield
            return
        if self._run is None:
            # Checks of sizes at every call would be half of what compiling saves.
            options: Any = {"size_asserts": False} if BACKEND == "inductor" else None
            self._run = torch.compile(
                _run_layer, backend=BACKEND, fullgraph=True, dynamic=True, options=options
            )
        try:
            for number, block in enumerate(blocks):
                pair = prefix.layers[number] if prefix.length else None
                block.forward = partial(self._forward, block, pair)
            with _room_for_variants():
                yield
        finally:
            for block in blocks:
                block.__dict__.pop("forward", None)

    def _forward(
        self,
        block: nn.Module,
        prefix: tuple[Tensor, Tensor] | None,
        hidden: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        # The first layer's input has no gradient, and would be compiled by itself.
        if torch.is_grad_enabled() and not hidden.requires_grad:
            hidden = hidden.detach().requires_grad_()
        with layer_prefix(prefix):
            if not self.compile_failed:
                try:
                    self._try_out(block, hidden, args, kwargs)
                    assert self._run is not None
                    return self._run(block, hidden, args, kwargs)
                except torch.OutOfMemoryError:
                    raise
                # Whatever dynamo, inductor, triton or a C++ compiler raises.
                except Exception as error:
                    self._decline(error)
            return _run_layer(block, hidden, args, kwargs)

    def _try_out(
        self, block: nn.Module, hidden: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """At the first use, compile the backward pass too, where a failure can be caught, and
        compare the results. Waits for a GPU.

        Raises: CompiledWrong.
        """
        learns = torch.is_grad_enabled()
        if learns in self._tried:
            return
        self._tried.add(learns)
        assert self._run is not None
        found = _states_and_gradient(self._run, block, hidden, args, kwargs)
        if block.training:  # a layer with dropout has other results each time
            return
        wanted = _states_and_gradient(_run_layer, block, hidden, args, kwargs)
        bound = ROUNDING_ERROR.get(hidden.dtype, 0.0)
        for ours, theirs in zip(found, wanted, strict=True):
            difference = float((ours - theirs).norm() / theirs.norm().clamp(min=_TINY))
            if difference > bound:
                raise CompiledWrong(f"a compiled layer's results differ by {difference:.0e}")

    def _decline(self, error: Exception) -> None:
        self.compile_failed = True
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        print_plain(
            f"learning goes on without torch.compile ({type(error).__name__}: {lines[0][:120]}); "
            "model.compile=off does not try it"
        )


def _run_layer(
    block: nn.Module, hidden: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    return type(block).forward(block, hidden, *args, **kwargs)


def _states_and_gradient(
    run: Callable[..., Any],
    block: nn.Module,
    hidden: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Tensor]:
    """A layer's states in float32 and, where gradients are on, that of their sum of squares.

    What is not a number is 0, so that it agrees with itself only.
    """
    if not torch.is_grad_enabled():
        return [_states(run(block, hidden, args, kwargs)).float().nan_to_num()]
    alone = hidden.detach().requires_grad_()
    states = _states(run(block, alone, args, kwargs)).float()
    (gradient,) = torch.autograd.grad(states.square().sum(), alone)
    return [states.detach().nan_to_num(), gradient.float().nan_to_num()]


def _states(out: Any) -> Tensor:
    return cast(Tensor, out[0] if isinstance(out, tuple) else out)


@contextmanager
def _room_for_variants() -> Iterator[None]:
    limits = {"recompile_limit": MOST_VARIANTS, "accumulated_recompile_limit": 8 * MOST_VARIANTS}
    with cast(Any, torch._dynamo.config).patch(limits):
        yield
