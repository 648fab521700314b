"""Model of scaling: from counted work to seconds by a roofline, and from those to the GPUs' idle
time in each scheme.

Nothing here is measured: `benchmarks/work/counts.json` holds the counts, `Card` the assumptions
about a GPU. A pass takes the longest of three: the host starting its kernels, the arithmetic, the
memory traffic. Left out are the traffic of activations, the optimizer, stragglers (every rank is as
fast as the others), and any overlap.
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


@dataclass(frozen=True)
class Step:
    """One update of a scheme: the seconds that it waits for, and how the GPUs spend them."""

    scheme: str
    gpus: int
    waits: dict[str, float]  # seconds by phase on the critical path, "exchange" included
    questions: float  # distinct new questions that an update learns from
    idle: float  # share of all GPUs' time
    redundant: float = 0.0  # share spent on work that another GPU does too
    behind: float = 0.0  # updates since the weights that sampled a question
    actors: int = 0

    @property
    def seconds(self) -> float:
        return sum(self.waits.values())

    @property
    def questions_per_second(self) -> float:
        return self.questions / self.seconds


def gradient_exchange(gpus: int, adapter_params: float, card: Card) -> float:
    """Seconds of an all-reduce of float32 gradients, in a ring, and of its statistics.

    The statistics go to rank 0 and back, one rank after another, as a length and data each.
    """
    if gpus == 1:
        return 0.0
    statistics = 2 * 2 * (gpus - 1) * card.message_us * 1e-6
    return statistics + 2 * (gpus - 1) / gpus * SINGLE * adapter_params / card.link


def text_exchange(gpus: int, bytes_per_rank: float, card: Card, ways: int) -> float:
    """Seconds of texts between rank 0 and each other rank in turn, ``ways`` times."""
    return ways * (gpus - 1) * (2 * card.message_us * 1e-6 + bytes_per_rank / card.link)


def broadcast(
    gpus: int, t: Mapping[str, float], questions: float, gradients: float, texts: float
) -> Step:
    """Rank 0 collects and the others wait; then all compute the same gradient."""
    collecting = _collecting(t)
    waits = {**_of_phases(t), "exchange": gradients + texts}
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
    """Each rank samples and learns; rank 0 answers and judges for all in ``for_all`` seconds."""
    scoring = {p: for_all[p] for p in ("answer", "judge")}
    waits = {**_of_phases(t), **scoring, "exchange": gradients + texts}
    whole = sum(waits.values())
    waiting = (gpus - 1) / gpus * sum(scoring.values())
    return Step(name, gpus, waits, gpus * questions, (waiting + waits["exchange"]) / whole)


def symmetric(
    gpus: int, t: Mapping[str, float], questions: float, gradients: float, name: str = "symmetric"
) -> Step:
    """Every rank does everything; ranks wait for the gradients only."""
    waits = {**_of_phases(t), "exchange": gradients}
    return Step(name, gpus, waits, gpus * questions, gradients / sum(waits.values()))


def actors(
    gpus: int,
    collect: float,
    batches: float,
    learn: float,
    questions: float,
    exchange: Mapping[int, float],
) -> Step:
    """Some GPUs collect ``batches`` at once without end, the others learn: the split that learns
    fastest.

    ``exchange`` is the gradients' time by number of learners. The slower side never waits, the
    faster one idles.
    """

    def rates(n_actors: int) -> tuple[float, float]:
        n_learners = gpus - n_actors
        return n_actors * batches / collect, n_learners / (learn + exchange[n_learners])

    n_actors = max(range(1, gpus), key=lambda n: min(rates(n)))
    n_learners = gpus - n_actors
    collected, learned = rates(n_actors)
    rate = min(collected, learned)
    learning_share = learn / (learn + exchange[n_learners])
    busy = n_actors * rate / collected + n_learners * rate / learned * learning_share
    update = n_learners / rate  # an update takes one batch from each learner
    waits = {"learn": learn, "exchange": exchange[n_learners]}
    waits["waiting for questions"] = update - sum(waits.values())
    return Step(
        f"actors x{batches:g}",
        gpus,
        waits,
        questions=n_learners * questions,
        idle=1 - busy / gpus,
        behind=collect / update,
        actors=n_actors,
    )


def _of_phases(t: Mapping[str, float]) -> dict[str, float]:
    return {phase: t[phase] for phase in PHASES}


def _collecting(t: Mapping[str, float]) -> float:
    """Seconds of all phases before learning."""
    return sum(t[phase] for phase in PHASES if phase != "learn")


def steps(
    model: Model,
    counted: Mapping[str, Any],
    card: Card,
    gpus: int,
    at_once: float = 8,
    factors: Mapping[str, float] | None = None,
) -> list[Step]:
    """Every scheme on ``gpus`` GPUs, with one batch and with ``at_once`` batches sampled together.

    ``factors`` multiply the seconds of each phase: measured over predicted.
    """
    factors = factors or {}

    def times(batches: float) -> dict[str, float]:
        seconds = {p: part(p, shape_of(p, model), counted, card, batches).seconds for p in PHASES}
        return {p: factors.get(p, 1.0) * seconds[p] for p in PHASES}

    one = times(1)
    many = times(at_once)
    n = counted["questions"]
    sizes = counted["a_question"]
    gradients = {}
    for n_learners in range(1, gpus + 1):
        gradients[n_learners] = gradient_exchange(n_learners, model.shape.adapter_params, card)
    all_reduce = gradients[gpus]
    request = text_exchange(gpus, n * (sizes["asked"] + sizes["verdict"]) / 2, card, ways=2)
    scored = text_exchange(gpus, n * sizes["scored"], card, ways=1)
    in_turn = {p: gpus * one[p] for p in PHASES}
    return [
        broadcast(gpus, one, n, all_reduce, scored),
        scatter(gpus, one, in_turn, n, all_reduce, request),
        scatter(gpus, one, times(gpus), n, all_reduce, request, "scatter, answered at once"),
        symmetric(gpus, one, n, all_reduce),
        symmetric(gpus, many, at_once * n, all_reduce, f"symmetric x{at_once:g}"),
        actors(gpus, _collecting(one), 1, one["learn"], n, gradients),
        actors(gpus, _collecting(many), at_once, one["learn"], n, gradients),
    ]


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


@dataclass(frozen=True)
class ReplayTraffic:
    """Load of the replay server per second."""

    questions: float  # offered for admission
    bytes_in: float
    bytes_out: float


def replay_traffic(
    step: Step, counted: Mapping[str, Any], share: float, capacity: int
) -> ReplayTraffic:
    """Load that a scheme puts on the replay server.

    Every new question is offered; a replayed step reads whole facts of three earlier steps
    (`FactStream.at`). Actors reach their learners through replay only, so each of their questions
    is read once more.
    """
    entry = counted["a_question"]["entry"]
    facts = counted["facts"] * step.questions / counted["questions"]  # of all learners' batches
    reads = share / step.seconds * 3 * facts * capacity * entry
    through = step.questions_per_second * entry if step.actors else 0.0
    return ReplayTraffic(
        step.questions_per_second, step.questions_per_second * entry, reads + through
    )
