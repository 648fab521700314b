"""Seconds of a phase from its counted work, by a roofline.

Nothing here is measured: `benchmarks/work/counts.json` holds the counts, `Card` the assumptions
about a GPU. A pass takes the longest of three: the host starting its kernels, the arithmetic, the
memory traffic. Left out are the traffic of activations and the optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PHASES = ("generate", "answer", "judge", "prior", "learn")
HALF = 2  # bytes of a number
SINGLE = 4
# Passes over [states, actions] in float32 per sampled token: write, softmax, cumsum, search.
LOGIT_TRAVERSALS = 8


@dataclass(frozen=True)
class Shape:
    """A causal LM (or a judge) as the roofline sees it."""

    name: str
    kernels: str  # the architecture whose kernel counts apply
    layers: int
    hidden: int
    kv_width: int  # key heads x head size
    layer_params: float  # of all layers, without embeddings
    adapter_params: float = 0


@dataclass(frozen=True)
class Model:
    """A sampler with the setting in which its work was counted."""

    shape: Shape
    setting: str


GPT2_LARGE = Shape(
    "gpt2-large",
    kernels="gpt2",
    layers=36,
    hidden=1280,
    kv_width=1280,
    layer_params=36 * 12 * 1280**2,
    adapter_params=36 * 16 * (1280 + 3840),  # rank 16 on c_attn
)
QWEN_7B = Shape(
    "7B (Qwen2.5's shape)",
    kernels="qwen2",
    layers=28,
    hidden=3584,
    kv_width=512,
    layer_params=28 * (2 * 3584**2 + 2 * 3584 * 512 + 3 * 3584 * 18944),
    adapter_params=28 * 16 * (3584 + 3584 + 3584 + 512),  # rank 16 on q and v
)
DEBERTA_LARGE = Shape(
    "DeBERTa-v3-large",
    kernels="deberta",
    layers=24,
    hidden=1024,
    kv_width=1024,
    layer_params=24 * 12 * 1024**2,
)
MODELS = (Model(GPT2_LARGE, "gpt2_large_zsre"), Model(QWEN_7B, "quickstart"))


@dataclass(frozen=True)
class Card:
    """A GPU, its host and its network: an H100 SXM by its data sheet, and guessed efficiency."""

    flops: float = 989e12  # bf16, dense
    bandwidth: float = 3.35e12  # bytes per second
    compute_efficiency: float = 0.4
    bandwidth_efficiency: float = 0.7
    host_us: float = 10.0  # for the host to start one kernel, its share of Python included
    decode_us: float | None = None  # the same in decoding (some 1.5 in a CUDA graph); None: host_us
    link: float = 25e9  # bytes per second between GPUs
    message_us: float = 50.0  # latency of a message between ranks


@dataclass(frozen=True)
class Part:
    """Seconds of a phase: over its legs, the sum of the longest of host, memory and arithmetic."""

    seconds: float
    host: float
    memory: float
    arithmetic: float
    passes: float

    @property
    def bound_by(self) -> str:
        return max(("host", "memory", "arithmetic"), key=lambda name: getattr(self, name))


def part(
    phase: str, shape: Shape, counted: Mapping[str, Any], card: Card, batches: float = 1
) -> Part:
    """One phase of one step with ``batches`` times the counted questions at once: more rows in as
    many passes.
    """
    work = counted["phases"]
    kernels = counted["kernels"][shape.kernels]
    legs = [leg for leg in ("read", "decode") if f"{phase}.{leg}" in work]
    found = [_leg(phase, leg, shape, work, kernels, card, batches, leg == legs[-1]) for leg in legs]
    host, memory, arithmetic, passes = (sum(numbers) for numbers in zip(*found, strict=True))
    return Part(sum(max(leg[:3]) for leg in found), host, memory, arithmetic, passes)


def _leg(
    phase: str,
    leg: str,
    shape: Shape,
    work: Mapping[str, Any],
    kernels: Mapping[str, Any],
    card: Card,
    batches: float,
    with_head: bool,
) -> tuple[float, float, float, float]:
    """Seconds of the host, of memory and of arithmetic, and the passes of one leg.

    The LM head is counted with the last leg of its phase.
    """
    w = work[f"{phase}.{leg}"]
    # Backward through frozen weights has gradients of activations only: as many products as
    # forward. The logits are computed again in the backward pass (`LoraPolicy._action_log_probs`).
    layers_times, head_times = (2, 3) if phase == "learn" else (1, 1)
    weight_products = 2 * shape.layer_params * w["tokens"]
    attention_products = 4 * shape.layers * shape.hidden * w["attended"]
    flops = layers_times * batches * (weight_products + attention_products)
    position = 2 * shape.layers * shape.kv_width * HALF
    traffic = layers_times * w["passes"] * shape.layer_params * HALF
    traffic += batches * position * (w["keys_read"] + 2 * w["keys_copied"])
    head = work.get(f"{phase}.head")
    if with_head and head is not None:
        flops += head_times * batches * 2 * shape.hidden * head["actions"] * head["states_read"]
        traffic += head_times * head["passes"] * head["actions"] * shape.hidden * HALF
        traffic += batches * LOGIT_TRAVERSALS * SINGLE * head["actions"] * head["states_read"]
    count = kernels[f"{phase}.{leg}"]
    each = card.host_us if leg == "read" or card.decode_us is None else card.decode_us
    host = 1e-6 * each * w["passes"] * (count["base"] + count["a_layer"] * shape.layers)
    return (
        host,
        traffic / (card.bandwidth * card.bandwidth_efficiency),
        flops / (card.flops * card.compute_efficiency),
        w["passes"],
    )


def shape_of(phase: str, model: Model) -> Shape:
    """Shape of the model that a phase runs."""
    return DEBERTA_LARGE if phase == "judge" else model.shape


def calibration(
    measured: Mapping[str, Any], counted: Mapping[str, Any], card: Card
) -> dict[str, float]:
    """Measured over predicted seconds of each phase, of gpt2-large in `benchmarks/gpu/step.py`.

    A phase whose work was not counted, such as a judge that was replayed, is left out.
    """
    work = {**counted, "phases": measured["work"]}
    model = MODELS[0]
    predicted = {
        phase: part(phase, shape_of(phase, model), work, card).seconds
        for phase in measured["phases"]
    }
    return {
        phase: seconds / predicted[phase]
        for phase, seconds in measured["phases"].items()
        if predicted[phase] > 0
    }
