"""Decoding with fixed shapes and addresses: every step is the same sequence of kernels.

A decoding step of a small model takes as long as the host needs to launch its kernels, a thousand
or more (docs/scaling.md). With fixed shapes and addresses, a GPU can record the step once per size
and replay it (`capture.py`). Therefore each text keeps its row, and a finished text stays without
being read. On a CPU the same step runs unrecorded, and tests compare it with the eager decoder.

Sizes are rounded up to buckets, so that few recordings serve a whole run. When most of the rows
are finished, the others move to a smaller bucket. Unused positions are masked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from contraflow.models.attention.shared_prefix import PrefixCache
from contraflow.models.capture import CaptureFailed, first_line, free_memory
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.cache_memory import CacheMemory
from contraflow.models.decoding.decoder import Decoder, EagerDecoder
from contraflow.models.decoding.static_step import DecodingState, Size, StaticStep, Writing
from contraflow.models.layers.adapted_linear import adapter_state
from contraflow.models.layers.step_layers import CompileFailed, StepLayers
from contraflow.models.prefilled import Prefilled
from contraflow.system.progress import print_plain

MOST_STEPS = 32  # recordings kept at a time


class StaticSteps:
    """Cache of static steps by size, for a caller that decodes repeatedly.

    A step is bound to the adapter that was active when it was recorded, and to the memory of the
    weights. The sampler and the oracle have one cache each.
    """

    def __init__(self) -> None:
        self._steps: dict[tuple[Any, ...], StaticStep] = {}
        self._memory: CacheMemory | None = None
        self._layers: dict[Hashable, StepLayers] = {}
        self.capture_failed = False  # the GPU refused a recording; do not try again
        self.declined: set[str] = set()  # what failed to compile; do not try again
        self.compile_seconds = 0.0

    def get(
        self,
        lm: CausalLM,
        prefix: PrefixCache,
        like: DynamicCache,
        rows: int,
        length: int,
        actions: Int[Tensor, " a"] | None,
        writing: Writing | None = None,
    ) -> StaticStep:
        """Return the step of a size; create it at its first use. Raises: CaptureFailed."""
        state = adapter_state(lm)
        # The step holds prefix, actions and chooser, so their ids stay unique while it is cached.
        written = None if writing is None else writing.key
        key = (id(prefix), id(actions), written, state, lm.layers.places(), rows, length)
        step = self._steps.pop(key, None)
        if step is None:
            step = self._new(lm, prefix, like, Size(rows, length), actions, writing, state)
        while len(self._steps) >= MOST_STEPS:
            del self._steps[next(iter(self._steps))]
        self._steps[key] = step  # inserted last: the least recently used step is evicted first
        return step

    def _new(
        self,
        lm: CausalLM,
        prefix: PrefixCache,
        like: DynamicCache,
        size: Size,
        actions: Int[Tensor, " a"] | None,
        writing: Writing | None,
        state: Hashable,
    ) -> StaticStep:
        memory = self._memory_for(like, size.rows * size.length)
        pool = next((step.pool for step in self._steps.values()), None)
        layers = self._layers_for(lm, state)
        try:
            step = self._tried_out(
                lambda: StaticStep(lm, prefix, like, memory, size, actions, layers, writing, pool),
                layers,
            )
        except torch.OutOfMemoryError as error:
            raise CaptureFailed(
                f"no memory for mask and logits of {size.rows} texts of {size.length} positions"
            ) from error
        self._note_compiling(step.compile_seconds)
        return step

    def _tried_out(self, make: Callable[[], StaticStep], layers: StepLayers) -> StaticStep:
        """Make a step, with simpler layers where compiling them fails."""
        while True:
            try:
                return make()
            except CompileFailed as error:
                without = layers.simplify()
                self.declined.add(without)
                print_plain(
                    f"decoding goes on without {without} ({error}); "
                    "model.compile=off does not try it"
                )

    def _layers_for(self, lm: CausalLM, state: Hashable) -> StepLayers:
        if state not in self._layers:
            self._layers[state] = StepLayers(lm, self.declined)
        return self._layers[state]

    def _note_compiling(self, seconds: float) -> None:
        if seconds and not self.compile_seconds:
            print_plain(
                f"compiled a layer for decoding in {seconds:.1f} s; each further size takes about "
                "as long (model.compile=off saves it, and decodes more slowly)"
            )
        self.compile_seconds += seconds

    def refresh(self) -> None:
        """Let all steps use the present weights of the adapter; call it before each decoding."""
        for layers in self._layers.values():
            layers.refresh()

    def give_up(self, reason: object) -> None:
        """Free everything and record no more, as a GPU has refused or has no memory."""
        self.capture_failed = True
        self.release()
        free_memory()
        print_plain(
            f"decoding goes on without CUDA graphs ({reason}); "
            "model.decoding=eager does not try them"
        )

    def release(self) -> None:
        """Free recordings and memory; a step that is needed later is created again."""
        self._steps.clear()
        self._layers.clear()
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
        context: Prefilled,
        n_tokens: int,
        actions: Int[Tensor, " a"] | None,
        steps: StaticSteps,
    ) -> None:
        self._lm = lm
        self._context = context
        self._actions = actions
        self._steps = steps
        self._n_tokens = n_tokens
        self._width = context.mask.shape[1]
        self._length = Size.of(1, self._width, n_tokens).length
        self._step: StaticStep | None = None
        self._eager: EagerDecoder | None = None  # once there is no memory for the first step

    def logits(self) -> Float[Tensor, "r a"]:
        if self._eager is not None:
            return self._eager.logits()
        if self._step is None:
            return self._lm.logits(self._context.last_hidden, self._actions)
        return self._step.logits  # the caller may overwrite it: the next step rewrites all of it

    def advance(self, row: Int[Tensor, " n"], token: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        if self._eager is None and self._step is None:
            self._steps.refresh()
            try:
                return self._advance(row, token)
            except (torch.OutOfMemoryError, CaptureFailed) as error:
                self._steps.give_up(first_line(error))
                self._step = None
                self._eager = EagerDecoder(self._lm, self._context, self._n_tokens, self._actions)
        if self._eager is not None:
            return self._eager.advance(row, token)
        return self._advance(row, token)

    def _advance(self, row: Int[Tensor, " n"], token: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        rows = Size.of(len(row), 0, 0).rows
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
        self._step_of(Size.of(n_texts, 0, 0).rows)

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
    context: Prefilled,
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
            steps.give_up(error)
    return EagerDecoder(lm, context, n_tokens, actions)
