"""Compares reward targets before anything is trained, by the questions of an exact sampler.

    python -m studies.targets --facts 32 --samples 64

Samples many questions with the untrained sampler, weights each by target / P_Q (self-normalized
importance sampling), and prints for each target the strict success of an exact sampler and its
share of distinct questions among 8. Facts with an effective sample size of at most 12 have too few
samples for the second number and are left out of it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contraflow import compose_config, default_facts, open_run
from contraflow.evaluation.records import QuestionRecord, read_records, write_records
from contraflow.evaluation.verdicts import verdict_of
from contraflow.facts import split_facts
from contraflow.seeding import python_rng
from contraflow.text.questions import question_ok

FAILURE = -13.3  # penalty of a question that fails the text checks, nats of the tempered reward
MIN_SAMPLE_SIZE = 12


@dataclass(frozen=True)
class Target:
    """min(P_Q, e^ceiling)^prior · C^contradiction · E^entailment · P_A^answer."""

    contradiction: float
    entailment: float = 0.0
    answer: float = 0.0
    prior: float = 1.0
    ceiling: float = 0.0


TARGETS = {
    "P_Q C": Target(1.0),
    "P_Q C^3.3": Target(3.3),
    "P_Q C E": Target(1.0, 1.0),
    "P_Q C^2 E": Target(2.0, 1.0),
    "P_Q C^2 E^2": Target(2.0, 2.0),
    "P_Q C^3.3 E": Target(3.3, 1.0),
    "P_Q C^3.3 E^3.3 P_A^0.3": Target(3.3, 3.3, 0.3),
    "P_Q^0.76 C^2 E^2": Target(2.0, 2.0, prior=0.76),
    "P_Q^0.6 C^2 E^2": Target(2.0, 2.0, prior=0.6),
    "min(P_Q, e^-5)^0.8 C^2 E^2": Target(2.0, 2.0, prior=0.8, ceiling=-5.0),
    "min(P_Q, e^-7)^0.9 C^2 E^2": Target(2.0, 2.0, prior=0.9, ceiling=-7.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--facts", type=int, default=32, help="validation facts that the oracle knows"
    )
    parser.add_argument("--samples", type=int, default=64, help="questions per fact")
    parser.add_argument(
        "--questions", type=Path, help="file of the questions: read if it exists, else written"
    )
    args = parser.parse_args()
    if args.questions and args.questions.is_file():
        records = read_records(args.questions)
    else:
        records = sample(args.facts, args.samples)
    if args.questions:
        write_records(args.questions, records)
    by_fact: dict[str, list[QuestionRecord]] = defaultdict(list)
    for record in records:
        by_fact[record.fact_id].append(record)
    print("| target | strict success | distinct of 8 | effective sample size |\n|---|---|---|---|")
    for name, target in TARGETS.items():
        found = np.array([study(rs, target) for rs in by_fact.values()])
        success, _, size = found.mean(0)
        covered = found[~np.isnan(found[:, 1]), 1]
        distinct = f"{covered.mean():.2f}" if len(covered) else ""
        print(f"| {name} | {success:.2f} | {distinct} | {size:.1f} |")


def sample(n_facts: int, n_samples: int) -> list[QuestionRecord]:
    """Questions of the untrained sampler on validation facts that the oracle knows."""
    run = open_run("untrained", compose_config())
    facts = list(split_facts(list(default_facts())).validation)
    python_rng("target study").shuffle(facts)
    return list(run.generate(run.known_facts(facts)[:n_facts], n_samples, seed=1))


def study(records: list[QuestionRecord], target: Target) -> tuple[float, float, float]:
    """One fact's strict success, distinct share of 8 (NaN with too few samples) and effective
    sample size.
    """
    weight = weights(records, target)
    size = 1 / float((weight**2).sum())
    succeeded = np.array([verdict_of(r).strict_success for r in records], dtype=float)
    distinct = distinct_share(records, weight) if size > MIN_SAMPLE_SIZE else np.nan
    return float(weight @ succeeded), distinct, size


def weights(records: list[QuestionRecord], target: Target) -> NDArray[np.float64]:
    """Normalized target / P_F of each question; the untrained P_F is P_Q."""
    parts = np.array([[r.log_contradiction, r.log_entailment, r.log_p_answer] for r in records])
    log_p_question = np.array([r.log_p_question for r in records])
    log_prior = target.prior * np.minimum(log_p_question, target.ceiling) - log_p_question
    sound = [
        question_ok(r.question, r.subject, r.original_answer, r.edited_answer, r.aliases)
        for r in records
    ]
    exponents = np.array([target.contradiction, target.entailment, target.answer])
    log_weight = log_prior + parts @ exponents + np.where(sound, 0.0, FAILURE)
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum())


def distinct_share(
    records: list[QuestionRecord], weight: NDArray[np.float64], n_draws: int = 50
) -> float:
    """Mean share of distinct questions among 8 sampled without replacement."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(n_draws):
        rows = rng.choice(len(records), 8, replace=False, p=weight)
        shares.append(len({records[i].question for i in rows}) / 8)
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
