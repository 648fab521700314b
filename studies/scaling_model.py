"""Model of scaling: from the seconds of the phases (`roofline.py`) to those of an update and to the
GPUs' idle time, in each scheme.

Left out are stragglers (every rank is as fast as the others) and any overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studies.roofline import PHASES, SINGLE, Card, Model, part, shape_of


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
