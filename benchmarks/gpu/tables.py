"""What the GPU benchmark prints."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.gpu.kernels import Kernels
from benchmarks.gpu.measure import PLAIN, STATIC
from benchmarks.gpu.pipelines import AT_ONCE, PHASES
from benchmarks.gpu.syncs import SyncCounter

Seconds = Mapping[str, Mapping[str, Sequence[float]]]


def steps_table(seconds: Seconds) -> str:
    """Median (least, most) milliseconds of each phase and way."""
    header = f"| ms | {' | '.join(seconds)} | {PLAIN} over {STATIC} |"
    lines = [header, "|---" * (len(seconds) + 2) + "|"]
    for phase in (*PHASES, "step"):
        times = {way: _times(phases, phase) for way, phases in seconds.items()}
        cells = [_span(t) for t in times.values()]
        lines.append(f"| {phase} | {' | '.join(cells)} | {_ratio(times)} |")
    return "\n".join(lines)


def ratios(seconds: Seconds) -> dict[str, float]:
    """How much faster a step is than the straightforward one, whose judge takes pairs one by one
    or all in one batch.
    """
    if PLAIN not in seconds or STATIC not in seconds:
        return {}
    plain = seconds[PLAIN]
    ours = statistics.median(_times(seconds[STATIC], "step"))
    single = statistics.median(_times(plain, "step"))
    saved = statistics.median(plain["judge"]) - statistics.median(plain[AT_ONCE])
    return {"single judge calls": single / ours, "judge in one batch": (single - saved) / ours}


def _times(phases: Mapping[str, Sequence[float]], phase: str) -> list[float]:
    if phase != "step":
        return list(phases[phase])
    return [sum(parts) for parts in zip(*(phases[name] for name in PHASES), strict=True)]


def _span(seconds: Sequence[float]) -> str:
    ms = [1e3 * s for s in seconds]
    return f"{statistics.median(ms):.1f} ({min(ms):.1f}, {max(ms):.1f})"


def _ratio(times: Mapping[str, Sequence[float]]) -> str:
    if PLAIN not in times or STATIC not in times:
        return ""
    return f"{statistics.median(times[PLAIN]) / statistics.median(times[STATIC]):.1f}"


def syncs_table(counters: Mapping[str, SyncCounter], n_places: int = 12) -> str:
    """How often the host waits, by way and phase, and where."""
    lines = [f"| waits | {' | '.join(PHASES)} | step |", "|---" * (len(PHASES) + 2) + "|"]
    for way, counter in counters.items():
        cells = [str(counter.by_phase[phase]) for phase in PHASES]
        lines.append(f"| {way} | {' | '.join(cells)} | {counter.by_phase.total()} |")
    for way, counter in counters.items():
        places = [f"{place} {n}" for place, n in counter.places.most_common(n_places)]
        lines.append(f"{way}: {', '.join(places)}")
    return "\n".join(lines)


def kernels_table(found: Mapping[str, Kernels], n: int = 12) -> str:
    """The kernels that take longest in each phase."""
    lines = []
    for phase, kernels in found.items():
        lines.append(f"{phase}: {kernels.n_calls} kernels, {kernels.total_ms:.1f} ms")
        for name, calls, ms in kernels.longest(n):
            lines.append(f"  {ms:8.2f} ms {calls:6d} x {name[:88]}")
    return "\n".join(lines)


def curve_row(row: Mapping[str, float], way: str) -> str:
    """A row of the table of decoding passes."""
    return (
        f"| {row['rows']:.0f} | {way} | {row['ms']:.2f} | {row['tokens_per_s']:,.0f} "
        f"| {row['bandwidth_share']:.0%} |"
    )
