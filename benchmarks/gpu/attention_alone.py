"""The fused attention by itself: microseconds of each plan, and whether it is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.clock import Clock
from contraflow.models.attention.attention_check import ROUNDING_ERROR, Attended, Heads, OneToken
from contraflow.models.capture import captured

Row = dict[str, Any]


@dataclass(frozen=True)
class Where:
    """How often something is run, on which device, for so many layers."""

    device: torch.device
    dtype: torch.dtype
    layers: int
    repeats: int


@dataclass(frozen=True)
class Shape:
    """One step of the attention: the new token's position, and the positions of the prefix."""

    rows: int
    heads: int
    key_heads: int
    dim: int
    length: int
    position: int
    prefix: int


def plans_of(shape: Shape, *, few: bool) -> Iterator[Any]:
    """The default plan, then the others; few: one of each kind.

    With a prefix there are several ways to join it: the first one for four plans, all for two.
    """
    from contraflow.models.attention.triton_attention import (
        GROUPED,
        OF_PREFIX,
        SINGLE,
        Launch,
        Plan,
    )

    default = SINGLE if shape.heads == shape.key_heads else GROUPED
    yield default
    own = [
        (SINGLE.products, SINGLE.own),
        (GROUPED.products, GROUPED.own),
        *[(False, Launch(*x)) for x in ((32, 1, 1), (64, 2, 1), (64, 4, 3))],
        *[(True, Launch(*x)) for x in ((64, 1, 2), (64, 2, 2), (16, 1, 4))],
    ]
    wide, middle = Launch(256, 8, 1), Launch(128, 4, 2)
    ways = [("before", OF_PREFIX), ("within", OF_PREFIX), ("beside", OF_PREFIX)]
    ways += [("before", wide), ("beside", wide), ("before", middle)]
    for number, (products, launch) in enumerate(own[: 2 if few else None]):
        n_ways = (2 if few else len(ways)) if number < 2 else int(number < 4)
        for by, of_prefix in ways[: n_ways if shape.prefix else 1]:
            if by == "within" and not products:
                continue
            plan = Plan(launch, of_prefix, products, by)  # type: ignore[arg-type]
            if plan != default:
                yield plan


def name_of(plan: Any, shape: Shape) -> str:
    """As "sums 64x1x1, before 64x4x3": keys at a time, warps, stages; then the prefix."""

    def launch(of: Any) -> str:
        return f"{of.block_s}x{of.num_warps}x{of.num_stages}"

    name = f"{'products' if plan.products else 'sums'} {launch(plan.own)}"
    if not shape.prefix:
        return name
    by = f"{plan.prefix_by} {launch(plan.prefix)}" if plan.prefix_by != "within" else "within"
    return f"{name}, {by}"


class Attention:
    """The attention at one shape, for the buffers of all layers."""

    def __init__(self, where: Where, shape: Shape) -> None:
        self._where = where
        heads = Heads(
            where.device, where.dtype, shape.heads, shape.key_heads, shape.dim, shape.prefix > 0
        )
        self._tokens = [
            OneToken.random(heads, shape.rows, shape.length, shape.position, shape.prefix)
            for _ in range(where.layers)
        ]
        self._last = self._tokens[-1]
        self._wanted = Attended.by_products(self._last)

    def writing_us(self) -> float:
        """Microseconds of writing the key and value of a layer by two operations."""

        def step() -> None:
            for token in self._tokens:
                token.keys.index_copy_(2, token.index, token.key)
                token.values.index_copy_(2, token.index, token.value)

        return self._us(captured(step, self._where.device).run)

    def run(self, plan: Any) -> Row:
        """Microseconds of a plan, and whether it is right: alone, and within a recording."""
        from contraflow.models.attention.triton_attention import decode_attention

        attend: Any = partial(decode_attention, plan=plan)
        means: list[Tensor] = []

        def step() -> None:
            means[:] = [attend(*token.arguments) for token in self._tokens]

        try:
            self._forget()
            alone = self._difference(attend(*self._last.arguments))
            recording = captured(step, self._where.device)
            self._forget()
            us = self._us(recording.run)
            recorded = self._difference(means[-1])
        # One plan that a GPU cannot run must not end the others.
        except Exception as error:
            return {"error": f"{type(error).__name__}: {str(error)[:160]}"}
        bound = ROUNDING_ERROR[self._where.dtype]
        right = alone <= bound and recorded <= bound
        return {"us": round(us, 2), "right": right, "difference": max(alone, recorded)}

    def _forget(self) -> None:
        """Overwrite what a step has to write."""
        for states in (self._last.keys, self._last.values):
            states.index_fill_(2, self._last.index, 7.0)

    def _difference(self, mean: Tensor) -> float:
        return Attended(mean, self._last.keys, self._last.values).difference(self._wanted)

    def _us(self, run: Callable[[], None]) -> float:
        """Microseconds a layer, the best of three."""
        clock = Clock(self._where.device)
        run()
        for _ in range(3):
            with clock.phase("runs"):
                for _ in range(self._where.repeats):
                    run()
        return 1e6 * min(clock.found["runs"]) / self._where.repeats / self._where.layers
