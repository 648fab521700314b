"""Counters of the work that goes through the models: passes, tokens, keys and logits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from contraflow.models.causal_lm import CausalLM
from contraflow.models.context import Context


@dataclass
class Work:
    """The work of one phase on one model."""

    passes: float = 0  # forward passes, one after another
    tokens: float = 0  # positions that go through the layers, padding included
    attended: float = 0  # (query, key) pairs, summed over passes
    keys_read: float = 0  # cached positions read from memory; a shared prefix once a decoding pass
    keys_copied: float = 0  # cached positions that leave and enter memory when rows leave or branch
    states_read: float = 0  # rows of the LM head's input
    actions: float = 0  # rows of the LM head, the most that any pass used


class WorkCounter:
    """Counts the work of a causal LM under the name of the innermost running phase.

    A pass of one token per row with a cache is decoding; every other pass is reading.
    """

    def __init__(self) -> None:
        self.found: dict[str, Work] = defaultdict(Work)
        self._phase = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's work under ``name.read``, ``name.decode`` and ``name.head``."""
        outer = self._phase
        self._phase = name
        try:
            yield
        finally:
            self._phase = outer

    @contextmanager
    def watching(self, lm: CausalLM) -> Iterator[None]:
        """Count the passes of this model within the block."""
        forward = lm._forward
        logits = lm.logits
        keep = Context.keep

        def counted_forward(
            ids: Tensor, mask: Tensor, positions: Tensor, cache: Any, prefix: Any
        ) -> Tensor:
            try:
                return forward(ids, mask, positions, cache, prefix)
            finally:  # torch ends a pass that it recomputes for gradients by raising
                self._count_pass(ids, 0 if prefix is None else prefix.length, cache)

        def counted_logits(hidden: Tensor, rows: Tensor | None = None) -> Tensor:
            work = self.found[f"{self._phase}.head"]
            work.passes += 1
            work.states_read += hidden.numel() // hidden.shape[-1]
            work.actions = max(work.actions, len(lm.head.weight) if rows is None else len(rows))
            return logits(hidden, rows)

        def counted_keep(context: Context, rows: Tensor) -> None:
            # Whole buffers move, with their unused part.
            capacity = context.cache.layers[0]._key_buffer.shape[2]
            self.found[f"{self._phase}.decode"].keys_copied += len(rows) * capacity
            keep(context, rows)

        patched: Any = lm
        contexts: Any = Context
        patched._forward = counted_forward
        patched.logits = counted_logits
        contexts.keep = counted_keep
        try:
            yield
        finally:
            del patched._forward, patched.logits
            contexts.keep = keep

    def _count_pass(self, ids: Tensor, shared: int, cache: Any) -> None:
        rows, t = ids.shape
        own = t if cache is None else cache.get_seq_length()
        decoding = t == 1 and cache is not None
        work = self.found[f"{self._phase}.{'decode' if decoding else 'read'}"]
        work.passes += 1
        work.tokens += rows * t
        work.attended += rows * t * (own + shared)
        work.keys_read += rows * own + (shared if decoding else rows * shared)


@contextmanager
def watching_judge(judge: Any, counter: WorkCounter) -> Iterator[None]:
    """Count the passes and tokens (padding included) of a judge of either kind."""
    work = counter.found["judge.read"]

    def count_pass(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows, t = (args[0] if args else kwargs)["input_ids"].shape
        work.passes += 1
        work.tokens += rows * t
        work.attended += rows * t * t

    network = getattr(judge, "_network", None)
    module = judge._model if network is None else network
    handle = module.register_forward_pre_hook(count_pass, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
