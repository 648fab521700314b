"""Compares reward targets before anything is trained, by the questions of an exact sampler.

    python -m studies.targets --facts 48 --samples 256 --questions targets.jsonl

Draws different questions of each fact with the untrained sampler, weighs them to each target
(`contraflow.evaluation.target`), and prints what an exact sampler of it has: strict success,
different ones of eight, and different valid ones. All targets are compared on the same facts: those
on which the weights of every target that is worth it suffice (`--at-least` equal draws; a target
that leaves more than half of the facts is printed with its own facts). The last column is
Var(log R - log P_Q) within a fact under the prior: how far training has to go.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from contraflow import compose_config, default_facts, open_run
from contraflow.evaluation.grouping import by_fact
from contraflow.evaluation.records import QuestionRecord, read_records, write_records
from contraflow.evaluation.target import WeightedFact
from contraflow.facts import split_facts
from contraflow.seeding import python_rng
from contraflow.text.questions import question_ok

N = 8  # questions of the exact sampler


@dataclass(frozen=True)
class Target:
    """min(P_Q, e^ceiling)^prior · C^contradiction · E^entailment · P_A^answer.

    Questions that fail the text checks have e^penalty in addition. In a run's settings every
    exponent is its weight divided by the temperature; that of C is 1 / temperature.
    """

    contradiction: float
    entailment: float
    prior: float = 1.0
    ceiling: float = 0.0
    answer: float = 0.0
    penalty: float = -12.0

    def __str__(self) -> str:
        prior = f"min(P_Q, e^{self.ceiling:g})" if self.ceiling else "P_Q"
        factors = {
            prior: self.prior,
            "C": self.contradiction,
            "E": self.entailment,
            "P_A": self.answer,
        }
        shown = [f if e == 1 else f"{f}^{e:g}" for f, e in factors.items() if e]
        return " · ".join(shown) + f", penalty {self.penalty:g}"


def targets() -> Iterator[Target]:
    """Those of docs/method.md, then judges of exponent 0.7 to 2 with a ceiling on the prior."""
    for judge in ((1, 0), (3.3, 0), (1, 1), (2, 1), (2, 2), (3.3, 1)):
        yield Target(*judge)
    yield Target(3.3, 3.3, answer=0.3)
    yield Target(2, 2, prior=0.76)  # the quickstart's former target
    yield Target(2, 2, prior=0.6)
    for exponent, prior, ceiling in itertools.product(
        (2, 1.4, 1, 0.7), (0.9, 1.0), (-4.0, -5.0, -6.0, -7.0)
    ):
        yield Target(exponent, exponent, prior, ceiling, penalty=-6.0)


@dataclass(frozen=True)
class Drawn:
    """The columns of one fact's questions, in nats."""

    log_included: Float[np.ndarray, " q"]
    log_p_question: Float[np.ndarray, " q"]
    log_contradiction: Float[np.ndarray, " q"]
    log_entailment: Float[np.ndarray, " q"]
    log_p_answer: Float[np.ndarray, " q"]
    sound: Bool[np.ndarray, " q"]
    weighted: WeightedFact  # for texts and verdicts

    @classmethod
    def of(cls, records: Sequence[QuestionRecord]) -> Drawn:
        sound = [
            question_ok(r.question, r.subject, r.original_answer, r.edited_answer, r.aliases)
            for r in records
        ]
        return cls(
            log_included=np.array([r.log_inclusion for r in records], dtype=np.float64),
            log_p_question=np.array([r.log_p_question for r in records]),
            log_contradiction=np.array([r.log_contradiction for r in records]),
            log_entailment=np.array([r.log_entailment for r in records]),
            log_p_answer=np.array([r.log_p_answer for r in records]),
            sound=np.array(sound),
            weighted=WeightedFact.of(records),
        )

    def log_reward(self, target: Target) -> Float[np.ndarray, " q"]:
        """log R of each question, tempered."""
        return np.asarray(
            target.prior * np.minimum(self.log_p_question, target.ceiling)
            + target.contradiction * self.log_contradiction
            + target.entailment * self.log_entailment
            + target.answer * self.log_p_answer
            + np.where(self.sound, 0.0, target.penalty)
        )

    def to(self, target: Target) -> WeightedFact:
        """The same questions, weighed to a target."""
        same = self.weighted
        return WeightedFact.weighed(
            self.log_reward(target), self.log_included, same.text, same.strict, same.valid
        )

    def variance(self, target: Target) -> float:
        """Var(log R - log P_Q) under the prior."""
        prior = WeightedFact.weighed(
            self.log_p_question,
            self.log_included,
            self.weighted.text,
            self.weighted.strict,
            self.weighted.valid,
        )
        log_ratio = self.log_reward(target) - self.log_p_question
        mean = float(prior.weight @ log_ratio)
        return float(prior.weight @ (log_ratio - mean) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facts", type=int, default=32, help="validation facts the oracle knows")
    parser.add_argument("--samples", type=int, default=128, help="different questions per fact")
    parser.add_argument("--at-least", type=float, default=10.0, help="equal draws per fact")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--questions", type=Path, help="file of the questions: read if it exists, else written"
    )
    args = parser.parse_args()
    if args.questions and args.questions.is_file():
        records = read_records(args.questions)
    else:
        records = draw(args.facts, args.samples, args.device)
        if args.questions:
            write_records(args.questions, records)
    print(table([Drawn.of(group) for group in by_fact(records).values()], args.at_least))


def draw(n_facts: int, n_samples: int, device: str) -> list[QuestionRecord]:
    """Different questions of the untrained sampler on validation facts that the oracle knows."""
    run = open_run("untrained", compose_config([f"model.device={device}"]))
    facts = list(split_facts(list(default_facts())).validation)
    python_rng("target study").shuffle(facts)
    return run.draw_for_target(run.known_facts(facts)[:n_facts], n_samples, seed=1)


def table(facts: Sequence[Drawn], at_least: float) -> str:
    """One row per target, as Markdown."""
    sizes = {t: np.array([fact.to(t).size for fact in facts]) for t in targets()}
    enough = {t: size >= at_least for t, size in sizes.items()}
    good = [which for which in enough.values() if which.mean() > 0.5]
    shared = np.logical_and.reduce(good) if good else np.zeros(len(facts), dtype=bool)
    lines = [
        "| target | facts | equal draws, median | strict success | distinct | distinct and valid "
        "| Var(log R - log P_Q) |",
        "|---|---|---|---|---|---|---|",
    ]
    for target in targets():
        which = shared if enough[target].mean() > 0.5 else enough[target]
        lines.append(_line(target, [f for f, w in zip(facts, which, strict=True) if w], sizes))
    return "\n".join(lines)


def _line(
    target: Target, facts: Sequence[Drawn], sizes: dict[Target, Float[np.ndarray, " f"]]
) -> str:
    cells = [str(target), str(len(facts)), f"{np.median(sizes[target]):.0f}"]
    weighed = [fact.to(target) for fact in facts]
    if weighed:
        cells += [
            f"{np.mean([f.mean(f.strict) for f in weighed]):.3f}",
            f"{np.mean([f.different(N) for f in weighed]):.3f}",
            f"{np.mean([f.different(N, f.valid) for f in weighed]):.3f}",
            f"{np.mean([fact.variance(target) for fact in facts]):.1f}",
        ]
    else:
        cells += [""] * 4
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
