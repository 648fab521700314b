"""A decoding pass by the number of rows: milliseconds, tokens a second, and the share of the card's
bandwidth.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from clock import Clock
from contraflow import default_facts
from contraflow.facts import Fact
from contraflow.policy.constraints import Constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.seeding import torch_rng


def decode_curve(
    policy: LoraPolicy, way: str, sizes: Sequence[int], repeats: int, card: float
) -> list[dict[str, float]]:
    """By questions at once: the time of full length less that of a third of it, over the passes
    between.
    """
    rows, facts, full = [], list(default_facts()), policy.constraints
    short = replace(full, min_len=max(1, full.max_len // 3), max_len=max(1, full.max_len // 3))
    policy.lm.decoding = way  # type: ignore[assignment]
    for n in sizes:
        about = facts[: n // 8]
        seconds = [_a_pass(policy, about, (full, short), repeat) for repeat in range(repeats + 1)][
            1:
        ]
        policy.constraints = full
        each = statistics.median(seconds)
        share = pass_bytes(policy, about, n) / each / card
        rows.append(
            {"rows": n, "ms": 1e3 * each, "tokens_per_s": n / each, "bandwidth_share": share}
        )
    return rows


def _a_pass(
    policy: LoraPolicy, facts: Sequence[Fact], lengths: tuple[Constraints, Constraints], seed: int
) -> float:
    clock = Clock(policy.lm.device)
    for limits in lengths:
        policy.constraints = limits
        with clock.phase(str(limits.max_len)):
            policy.sample(facts, 8, torch_rng(seed, device=policy.lm.device))
    full, short = (clock.found[str(limits.max_len)][0] for limits in lengths)
    return (full - short) / (lengths[0].max_len - lengths[1].max_len)


def pass_bytes(policy: LoraPolicy, facts: Sequence[Fact], rows: int) -> float:
    """What a pass of a GPT-2 must move in the middle of these questions: layers and head once, each
    row's own keys.
    """
    config, c = policy.lm.model.config, policy.constraints
    number = policy.lm.head.weight.element_size()
    body = sum(len(ids) for ids in policy.encode(facts)) / len(facts)
    layers = 12 * config.n_layer * config.n_embd**2
    head = len(c.action_ids) * config.n_embd
    keys = 2 * config.n_layer * config.n_embd * rows * (body + c.max_len * 2 / 3)
    return float(number * (layers + head + keys))
