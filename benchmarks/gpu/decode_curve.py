"""A decoding pass by the number of rows: milliseconds, tokens per second, and the share of the
card's bandwidth.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from benchmarks.clock import Clock
from benchmarks.gpu.measure import Deadline
from contraflow import default_facts
from contraflow.facts import Fact
from contraflow.policy.constraints import Constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.seeding import torch_rng

QUESTIONS_PER_FACT = 8


def decode_curve(
    policy: LoraPolicy,
    way: str,
    sizes: Sequence[int],
    repeats: int,
    card: float,
    deadline: Deadline,
) -> Iterator[dict[str, float]]:
    """Medians of a decoding pass for each number of rows, each when it is known.

    A pass takes the time of questions of full length less that of questions of a third of it,
    divided by the passes between. A size for which no time is left is left out.

    Args:
        way: the decoder, "static" or "eager".
        card: the bandwidth of a large copy, in bytes per second.
    """
    facts = list(default_facts())
    full = policy.constraints
    third = max(1, full.max_len // 3)
    short = replace(full, min_len=third, max_len=third)
    policy.lm.decoding = way  # type: ignore[assignment]
    for n in sizes:
        about = facts[: n // QUESTIONS_PER_FACT]
        started = time.monotonic()
        seconds = []
        for seed in range(repeats + 1):
            so_far = (time.monotonic() - started) / max(1, seed)
            if not deadline.allows(so_far):
                break
            seconds.append(_pass_seconds(policy, about, full, short, seed))
        policy.constraints = full
        if len(seconds) < 2:  # the first one is a warm-up
            return
        median = statistics.median(seconds[1:])
        share = pass_bytes(policy, about, n) / median / card
        yield {"rows": n, "ms": 1e3 * median, "tokens_per_s": n / median, "bandwidth_share": share}


def _pass_seconds(
    policy: LoraPolicy, facts: Sequence[Fact], full: Constraints, short: Constraints, seed: int
) -> float:
    device = policy.lm.device
    clock = Clock(device)
    for name, constraints in (("full", full), ("short", short)):
        policy.constraints = constraints
        with clock.phase(name):
            policy.sample(facts, QUESTIONS_PER_FACT, torch_rng(seed, device=device))
    return (clock.total("full") - clock.total("short")) / (full.max_len - short.max_len)


def pass_bytes(policy: LoraPolicy, facts: Sequence[Fact], rows: int) -> float:
    """Bytes that a pass of a GPT-2 must move in the middle of these questions: the layers and the
    head once, and each row's own keys and values.
    """
    config = cast(Any, policy.lm.model).config
    constraints = policy.constraints
    prompt_len = sum(len(ids) for ids in policy.encode(facts)) / len(facts)
    layers = 12 * config.n_layer * config.n_embd**2
    head = len(constraints.action_ids) * config.n_embd
    positions = rows * (prompt_len + constraints.max_len * 2 / 3)
    keys_and_values = 2 * config.n_layer * config.n_embd * positions
    return float(policy.lm.head.weight.element_size() * (layers + head + keys_and_values))
