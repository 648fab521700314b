"""From counted work to time and idle shares: a roofline for each part of a step, and who waits for
whom.

Nothing here is measured; `benchmarks/work.json` holds what was counted, `Card` what is assumed of a
GPU. A pass takes as long as the longest of three: the host starting its kernels, the arithmetic,
the memory traffic. Left out: the traffic of activations, the optimizer, stragglers (every rank is
as fast as the others), and any overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PHASES = ("generate", "answer", "judge", "prior", "learn")
HALF, SINGLE = 2, 4  # bytes of a number
LOGIT_TRAVERSALS = (
    8  # of [states, actions] in float32 per draw: written, softmax, cumulative sum, search
)


@dataclass(frozen=True)
class Shape:
    """A causal LM (or a judge) as the roofline sees it."""

    name: str
    kernels: str  # whose kernel counts are its own
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


# LoRA of rank 16 on c_attn: 16 x (1280 + 3840) a layer. Qwen2.5-7B's q and v: 16 x (3584 + 3584 +
# 3584 + 512).
GPT2_LARGE = Shape("gpt2-large", "gpt2", 36, 1280, 1280, 36 * 12 * 1280**2, 36 * 16 * (1280 + 3840))
QWEN_7B = Shape(
    "7B (Qwen2.5's shape)",
    "qwen2",
    28,
    3584,
    512,
    28 * (2 * 3584**2 + 2 * 3584 * 512 + 3 * 3584 * 18944),
    28 * 16 * (3 * 3584 + 512),
)
DEBERTA_LARGE = Shape("DeBERTa-v3-large", "deberta", 24, 1024, 1024, 24 * 12 * 1024**2)
MODELS = (Model(GPT2_LARGE, "gpt2_large_zsre"), Model(QWEN_7B, "quickstart"))


@dataclass(frozen=True)
class Card:
    """A GPU, its host and its network. The defaults are an H100 SXM's data sheet and guesses at
    what is reached.
    """

    flops: float = 989e12  # bf16, dense
    bandwidth: float = 3.35e12  # bytes a second
    compute_efficiency: float = 0.4
    bandwidth_efficiency: float = 0.7
    host_us: float = 10.0  # for the host to start one kernel, its share of Python included
    decode_us: float | None = (
        None  # the same while decoding; None as above (a replayed CUDA graph: some 1.5)
    )
    link: float = 25e9  # bytes a second between GPUs
    message_us: float = 50.0  # from rank to rank, however short


@dataclass(frozen=True)
class Part:
    """A phase's seconds: the sum over its legs of the longest of host, memory and arithmetic."""

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
    """One phase of one step with ``batches`` times the counted questions drawn at once: rows grow,
    passes do not.
    """
    work, kernels = counted["phases"], counted["kernels"][shape.kernels]
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
    """Seconds of the host, of memory and of arithmetic, and the passes. The head is reckoned with
    the last leg.
    """
    w = work[f"{phase}.{leg}"]
    # Backward through frozen weights: gradients of activations only, as many products again as
    # forward. The read-out is computed once more in the backward pass (`LoraPolicy._read_out`).
    layers_times, head_times = (2, 3) if phase == "learn" else (1, 1)
    products = (
        2 * shape.layer_params * w["tokens"] + 4 * shape.layers * shape.hidden * w["attended"]
    )
    flops = layers_times * batches * products
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


@dataclass(frozen=True)
class Step:
    """What an update waits for, in seconds by phase, and what the GPUs make of that time."""

    scheme: str
    gpus: int
    waits: dict[str, float]  # phases one after another on the critical path, "exchange" among them
    questions: float  # different fresh questions that an update learns from
    idle: float  # share of all GPUs' time
    redundant: float = 0.0  # share spent on what another GPU computes too
    behind: float = 0.0  # updates since the weights that drew a question
    actors: int = 0

    @property
    def seconds(self) -> float:
        return sum(self.waits.values())

    @property
    def questions_a_second(self) -> float:
        return self.questions / self.seconds


def gradient_exchange(gpus: int, adapter_params: float, card: Card) -> float:
    """Notes to rank 0 and back, length and data each, one rank after another; a ring of float32
    gradients.
    """
    if gpus == 1:
        return 0.0
    notes = 2 * 2 * (gpus - 1) * card.message_us * 1e-6
    return notes + 2 * (gpus - 1) / gpus * SINGLE * adapter_params / card.link


def text_exchange(gpus: int, bytes_a_rank: float, card: Card, ways: int) -> float:
    """Texts between rank 0 and each other rank in turn, ``ways`` times."""
    return ways * (gpus - 1) * (2 * card.message_us * 1e-6 + bytes_a_rank / card.link)


def broadcast(
    gpus: int, t: Mapping[str, float], questions: float, gradients: float, texts: float
) -> Step:
    """Rank 0 collects, the others wait; then all compute the same gradient."""
    collecting = sum(t[p] for p in PHASES if p != "learn")
    waits = {**{p: t[p] for p in PHASES}, "exchange": gradients + texts}
    whole = sum(waits.values())
    others = (gpus - 1) / gpus
    idle = (others * collecting + waits["exchange"]) / whole
    return Step("broadcast", gpus, waits, questions, idle, others * t["learn"] / whole)


def scatter(
    gpus: int,
    t: Mapping[str, float],
    for_all: Mapping[str, float],
    questions: float,
    gradients: float,
    texts: float,
    name: str = "scatter",
) -> Step:
    """Each rank draws and learns; rank 0 answers and judges for all, which takes it ``for_all``."""
    asked = {p: for_all[p] for p in ("answer", "judge")}
    waits = {**{p: t[p] for p in PHASES}, **asked, "exchange": gradients + texts}
    whole = sum(waits.values())
    waiting = (gpus - 1) / gpus * sum(asked.values())
    return Step(name, gpus, waits, gpus * questions, (waiting + waits["exchange"]) / whole)


def symmetric(
    gpus: int, t: Mapping[str, float], questions: float, gradients: float, name: str = "symmetric"
) -> Step:
    """Every rank does everything; only the gradients wait."""
    waits = {**{p: t[p] for p in PHASES}, "exchange": gradients}
    return Step(name, gpus, waits, gpus * questions, gradients / sum(waits.values()))


def actors(
    gpus: int,
    collect: float,
    batches: float,
    learn: float,
    questions: float,
    exchange: Mapping[int, float],
) -> Step:
    """Some GPUs collect ``batches`` at once without end, the others learn; the split that learns
    fastest.

    ``exchange`` is the gradients' time by number of learners. The slower side never waits, the faster one idles.
    """

    def rates(n_actors: int) -> tuple[float, float]:
        n_learners = gpus - n_actors
        return n_actors * batches / collect, n_learners / (learn + exchange[n_learners])

    best = max(range(1, gpus), key=lambda n: min(rates(n)))
    made, learned = rates(best)
    rate, n_learners = min(made, learned), gpus - best
    busy = best * rate / made + n_learners * rate / learned * learn / (learn + exchange[n_learners])
    update = n_learners / rate  # an update takes one batch from each learner
    waits = {"learn": learn, "exchange": exchange[n_learners]}
    waits["waiting for questions"] = update - sum(waits.values())
    behind = collect / update
    return Step(
        f"actors x{batches:g}",
        gpus,
        waits,
        n_learners * questions,
        1 - busy / gpus,
        0.0,
        behind,
        best,
    )


def steps(
    model: Model,
    counted: Mapping[str, Any],
    card: Card,
    gpus: int,
    at_once: float = 8,
    factors: Mapping[str, float] | None = None,
) -> list[Step]:
    """Every scheme on so many GPUs, with one batch and with ``at_once`` batches drawn together.

    ``factors`` correct each phase's time by what was measured.
    """
    factors = factors or {}

    def times(batches: float) -> dict[str, float]:
        seconds = {p: part(p, shape_of(p, model), counted, card, batches).seconds for p in PHASES}
        return {p: factors.get(p, 1.0) * seconds[p] for p in PHASES}

    def collecting(t: Mapping[str, float]) -> float:
        return sum(t[p] for p in PHASES if p != "learn")

    one, many, n, sizes = times(1), times(at_once), counted["questions"], counted["a_question"]
    gradients = {
        k: gradient_exchange(k, model.shape.adapter_params, card) for k in range(1, gpus + 1)
    }
    sharing = gradients[gpus]
    asking = text_exchange(gpus, n * (sizes["asked"] + sizes["verdict"]) / 2, card, ways=2)
    telling = text_exchange(gpus, n * sizes["scored"], card, ways=1)
    in_turn = {p: gpus * one[p] for p in PHASES}
    return [
        broadcast(gpus, one, n, sharing, telling),
        scatter(gpus, one, in_turn, n, sharing, asking),
        scatter(gpus, one, times(gpus), n, sharing, asking, "scatter, answered at once"),
        symmetric(gpus, one, n, sharing),
        symmetric(gpus, many, at_once * n, sharing, f"symmetric x{at_once:g}"),
        actors(gpus, collecting(one), 1, one["learn"], n, gradients),
        actors(gpus, collecting(many), at_once, one["learn"], n, gradients),
    ]


def shape_of(phase: str, model: Model) -> Shape:
    """Whose weights a phase runs."""
    return DEBERTA_LARGE if phase == "judge" else model.shape


def calibration(
    measured: Mapping[str, Any], counted: Mapping[str, Any], card: Card
) -> dict[str, float]:
    """Measured over predicted seconds of each phase, gpt2-large on the work that
    `benchmarks/gpu.py` did.
    """
    work = {**counted, "phases": measured["work"]}
    model = MODELS[0]
    return {
        phase: seconds / part(phase, shape_of(phase, model), work, card).seconds
        for phase, seconds in measured["phases"].items()
    }


@dataclass(frozen=True)
class ReplayTraffic:
    """What the replay server sees each second."""

    questions: float  # to admit
    bytes_in: float
    bytes_out: float


def replay_traffic(
    step: Step, counted: Mapping[str, Any], share: float, capacity: int
) -> ReplayTraffic:
    """Every fresh question is offered; a replayed step reads whole facts, of three earlier steps
    (`FactStream.at`).

    Actors have no other way to their learners: there each fresh question is read once as well.
    """
    entry = counted["a_question"]["entry"]
    facts = counted["facts"] * step.questions / counted["questions"]  # of all learners' batches
    reads = share / step.seconds * 3 * facts * capacity * entry
    through = step.questions_a_second * entry if step.actors else 0.0
    return ReplayTraffic(step.questions_a_second, step.questions_a_second * entry, reads + through)
