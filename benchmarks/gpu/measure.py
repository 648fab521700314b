"""Seconds, waits, kernels and memory of training steps, in turn for every way of taking one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.clock import Clock
from benchmarks.gpu.kernels import Kernels, Profiler
from benchmarks.gpu.pipelines import AT_ONCE, PHASES, Ours, Phase, straightforward_step
from benchmarks.gpu.syncs import SyncCounter
from benchmarks.straightforward import Straightforward
from contraflow.facts import Fact

STATIC = "static"
EAGER = "eager"
PLAIN = "straightforward"
# The package compiles and records decoding in its first step, and in the second one the shapes of
# the judge and of token trees. The third one is what all others are.
WARM_UPS = {STATIC: 3, EAGER: 1, PLAIN: 1}

Step = Callable[[Phase], None]


class Deadline:
    """Says when no further repeat may start: when it would end too late, by the longest so far."""

    def __init__(self, minutes: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end = now() + 60 * minutes

    def left(self) -> float:
        """Seconds until the end."""
        return self._end - self._now()

    def allows(self, seconds: float) -> bool:
        """Whether something that takes so long may start."""
        return seconds < self.left()


@dataclass
class Measured:
    """Seconds by way and phase, and peak bytes allocated above the models."""

    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)


def steps_of(ours: Ours, plain: Straightforward, facts: Sequence[Fact]) -> dict[str, Step]:
    """A step by each way, with new questions at every call."""
    seeds = itertools.count()

    def by(decoding: str) -> Step:
        def step(phase: Phase) -> None:
            ours.lm.decoding = decoding  # type: ignore[assignment]
            ours.step(facts, next(seeds), phase)

        return step

    def straightforward(phase: Phase) -> None:
        straightforward_step(plain, facts, ours.size.questions, phase)

    return {STATIC: by(STATIC), EAGER: by(EAGER), PLAIN: straightforward}


def measure_steps(
    steps: dict[str, Step], device: torch.device, repeats: int, deadline: Deadline
) -> Measured:
    """Take steps in turn; the first ones of each way are warm-ups and not counted.

    A way that no longer fits into the time is left out of further rounds.
    """
    found = Measured()
    clocks = {way: Clock(device) for way in steps}
    for way, step in steps.items():
        for _ in range(WARM_UPS[way]):
            started = time.monotonic()
            step(Clock(device).phase)
            print(f"warm-up {way}: {time.monotonic() - started:.1f} s", flush=True)
    for _ in range(repeats):
        for way, step in steps.items():
            longest = sum(max(times) for times in clocks[way].found.values())
            if not deadline.allows(longest):
                continue
            held = _reset_peak(device)
            step(clocks[way].phase)
            found.peaks[way] = max(found.peaks.get(way, 0), _peak(device) - held)
    for way, clock in clocks.items():
        if clock.found:
            names = (*PHASES, AT_ONCE) if way == PLAIN else PHASES
            found.seconds[way] = {name: clock.found[name] for name in names}
    return found


def count_syncs(step: Step, device: torch.device) -> SyncCounter:
    """The waits of one step."""
    counter = SyncCounter(device)
    step(counter.phase)
    return counter


def profile_kernels(step: Step, device: torch.device) -> dict[str, Kernels]:
    """The kernels of one step, by phase."""
    profiler = Profiler(device)
    step(profiler.phase)
    return profiler.found


def _reset_peak(device: torch.device) -> int:
    """Forget the peak so far; return the bytes that are allocated now."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
