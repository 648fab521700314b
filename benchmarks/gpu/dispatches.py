"""What the host does around the recorded step when questions and answers are written.

    python -m benchmarks.gpu.dispatches            # gpt2-large's layers and heads, narrow; on a CPU

A GPU replays the step as one launch. Everything else is started by the host, operation by
operation: reading the prompts, loading their keys, renewing the copies of the adapter, inputs and
results. Counted on a CPU, where the step runs unrecorded: the operations that PyTorch dispatches
(`TorchDispatchMode`), those of them that start a kernel on a GPU, and the function calls of Python
and C. Nothing is timed. The layers that read the prompts are counted uncompiled, in a line of their
own, as `torch.compile` makes a few kernels of each.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu.pipelines import LARGE, TINY, Ours, Size, judge_on, step_prompts
from benchmarks.random_models import gpt2_config, random_lm
from contraflow import default_facts
from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.static_decoding import StaticSteps
from contraflow.models.decoding.static_step import DecodingState, StaticStep
from contraflow.models.prefilled import Prefilled

STEP = "recorded step"
LAYERS = "layers that read the prompts"
PREFILL = "reading the prompts, rest"
LOADING = "loading keys"
ADAPTER = "copies of the adapter"
REST = "everything else"
OUTSIDE = (LAYERS, PREFILL, LOADING, ADAPTER, REST)
PHASES = ("generate", "answer")

# Where each part happens.
PLACES: tuple[tuple[str, Any, str], ...] = (
    (STEP, StaticStep, "run"),
    (PREFILL, CausalLM, "prefill"),
    (LOADING, Prefilled, "of_tree"),
    (LOADING, DecodingState, "after_prefill"),
    (LOADING, StaticStep, "load"),
    (LOADING, StaticStep, "save"),
    (ADAPTER, StaticSteps, "refresh"),
)
NARROW = replace(LARGE, sampler=gpt2_config(36, 80, 20, 2000), judge=TINY.judge)

_NO_KERNEL = ("aten._unsafe_view", "aten.empty", "aten.new_empty")


@dataclass
class Dispatches:
    """Counts by part of one phase."""

    operations: Counter[str] = field(default_factory=Counter)
    kernels: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)  # of Python and C functions
    names: dict[str, Counter[str]] = field(default_factory=dict)  # operations by name


class _Operations(TorchDispatchMode):
    def __init__(self, found: Dispatches, parts: list[str]) -> None:
        super().__init__()
        self._found = found
        self._parts = parts

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        part = self._parts[-1]
        self._found.operations[part] += 1
        self._found.kernels[part] += _starts_kernel(func)
        self._found.names.setdefault(part, Counter())[str(func)] += 1
        return func(*args, **(kwargs or {}))


def _starts_kernel(func: Any) -> bool:
    """Whether an operation does more than to allocate or to view what is there."""
    aliases = [value.alias_info for value in func._schema.returns]
    is_view = any(alias is not None and not alias.is_write for alias in aliases)
    return not is_view and not str(func).startswith(_NO_KERNEL)


@contextmanager
def _parts_of(lm: CausalLM) -> Iterator[list[str]]:
    """Yield a list whose last entry names the part that runs now."""
    parts = [REST]

    def within(part: str, run: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(run)
        def inside(*args: Any, **kwargs: Any) -> Any:
            parts.append(STEP if STEP in parts else part)
            try:
                return run(*args, **kwargs)
            finally:
                parts.pop()

        return inside

    with ExitStack() as stack:
        for part, owner, name in PLACES:
            made = owner.__dict__[name]
            if isinstance(made, classmethod):
                inside: Any = classmethod(within(part, made.__func__))
            else:
                inside = within(part, made)
            stack.enter_context(_replaced(owner, name, inside))
        for block in lm.layers.blocks:
            inside = within(LAYERS, block.forward)
            stack.enter_context(_replaced(block, "forward", inside))
        yield parts


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of a class or an object within the block."""
    before = owner.__dict__.get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name)
        if before is not None:
            setattr(owner, name, before)


class Counted:
    """Writes questions and answers with fixed shapes, and counts."""

    def __init__(self, size: Size, facts: Sequence[Fact]) -> None:
        device = torch.device("cpu")
        lm = random_lm(size.sampler, device, torch.float32)
        lm.decoding = "static"
        lm.compiling = "off"
        judge = judge_on(size, device, torch.float32)
        self.ours = Ours(size, lm, judge, step_prompts())
        self.facts = facts
        self._write(0, _unwatched)  # creates the steps

    def count(self) -> dict[str, Dispatches]:
        """The counts by phase, for questions that were not asked before."""
        found = {phase: Dispatches() for phase in PHASES}
        with _parts_of(self.ours.lm) as parts:

            @contextmanager
            def operations(phase: str) -> Iterator[None]:
                with _Operations(found[phase], parts):
                    yield

            @contextmanager
            def calls(phase: str) -> Iterator[None]:
                with _counting_calls(found[phase], parts):
                    yield

            self._write(1, operations)
            self._write(2, calls)
        return found

    def _write(self, seed: int, phase: Any) -> None:
        with torch.no_grad():
            self.ours.write(self.facts, seed, phase)


@contextmanager
def _unwatched(_phase: str) -> Iterator[None]:
    yield


@contextmanager
def _counting_calls(found: Dispatches, parts: list[str]) -> Iterator[None]:
    def seen(_frame: Any, event: str, _arg: Any) -> None:
        if event in ("call", "c_call"):
            found.calls[parts[-1]] += 1

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        yield
    finally:
        sys.setprofile(before)


def dispatches_table(found: dict[str, Dispatches]) -> str:
    """Operations, kernels and calls of each part, as a Markdown table."""
    heads = [f"{phase}: {what}" for phase in found for what in ("operations", "kernels", "calls")]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for part in (*OUTSIDE, STEP):
        lines.append(_line(part, [_numbers(phase, (part,)) for phase in found.values()]))
    lines.append(_line("outside", [_numbers(phase, OUTSIDE) for phase in found.values()]))
    return "\n".join(lines)


def _numbers(found: Dispatches, parts: Sequence[str]) -> list[int]:
    counters = (found.operations, found.kernels, found.calls)
    return [sum(counter[part] for part in parts) for counter in counters]


def _line(name: str, phases: list[list[int]]) -> str:
    return f"| {name} | " + " | ".join(f"{n:,}" for phase in phases for n in phase) + " |"


def main(words: Sequence[str] | None = None) -> None:
    """Count what the words, or those of the command line, ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="two layers, two facts")
    parser.add_argument("--names", type=int, default=0, help="print so many operations of a part")
    args = parser.parse_args(words)
    size = TINY if args.tiny else NARROW
    found = Counted(size, list(default_facts())[: size.facts]).count()
    print(f"{size.sampler.n_layer} layers; {size.facts} facts x {size.questions} questions")
    print(dispatches_table(found))
    if args.names:
        for phase, counts in found.items():
            for part, names in counts.names.items():
                most = ", ".join(f"{n} {name}" for name, n in names.most_common(args.names))
                print(f"{phase}, {part}: {most}")


if __name__ == "__main__":
    main()
