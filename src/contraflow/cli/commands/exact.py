"""`contraflow exact`: an objective against the exact answer, on a space that can be written out."""

from __future__ import annotations

import json

from contraflow.cli.command import Argument, Command, Given
from contraflow.errors import UserError

OBJECTIVES = ("subtb", "tb", "db", "vargrad", "modified_subtb", "ctb")
REWARDS = ("table", "random", "sparse", "peaky")  # those of exactness/space.py, which imports torch
ARCHITECTURES = ("llama", "gpt2")
MOST_TOKENS, MOST_QUESTIONS = 12, 4000
MOST_STEPS, STEPS = (
    1600,
    {"modified_subtb": 1200},
)  # its steps judge every prefix, and teach as much more


def run(given: Given) -> int:
    """Learn a reward table through the real training path and print the distance to R / Z."""
    name = given.choice("objective", OBJECTIVES)
    reward = given.choice("reward", REWARDS)
    architecture = given.choice("architecture", ARCHITECTURES)
    vocab, max_len = given.integer("vocab", 2), given.integer("max_len", 1)
    for key, value in (("vocab", vocab), ("max_len", max_len)):
        if value > MOST_TOKENS:
            raise UserError(f"{key}={value}: must be at most {MOST_TOKENS}")
    n_questions = sum(vocab**n for n in range(1, max_len + 1))
    if n_questions > MOST_QUESTIONS:
        raise UserError(
            f"vocab={vocab} max_len={max_len}: {n_questions} questions are too many to write out; "
            f"keep vocab + vocab² + … + vocab^max_len at {MOST_QUESTIONS} or less"
        )
    as_json = given.choice("json", ("true", "false")) == "true"
    seed = given.integer("seed", 0)
    n_steps = given.integer("n_steps", 1) if given.text("n_steps") else STEPS.get(name, MOST_STEPS)
    lam = given.positive("lam")

    from contraflow.exactness.check import ExactSettings, adapter_lr, run_exact
    from contraflow.run.build import build_objective
    from contraflow.settings import Config, ObjectiveConfig
    from contraflow.system.progress import bar

    objective = build_objective(Config(objective=ObjectiveConfig(name=name, lam=lam)))
    settings = ExactSettings(
        objective=name,
        seed=seed,
        vocab=vocab,
        max_len=max_len,
        reward=reward,  # type: ignore[arg-type]
        architecture=architecture,  # type: ignore[arg-type]
        n_steps=n_steps,
        lr=adapter_lr(name),
    )
    with bar(f"exact: {name}, {n_questions} questions, reward={reward}", n_steps) as progress:
        result = run_exact(settings, objective, lambda: progress.advance(1))
    print(
        json.dumps(vars(settings) | {"lam": lam} | result.as_dict())
        if as_json
        else _told(result.as_dict())
    )
    return 0


def _told(result: dict[str, float | int | None]) -> str:
    log_z = result["log_z_error"]
    rows = [
        ("questions per fact", f"{result['n_questions']}"),
        (
            "total variation to R/Z",
            f"{result['total_variation']:.4f}   (untrained {result['total_variation_untrained']:.4f})",
        ),
        ("error of log Z", "no Z is modeled" if log_z is None else f"{log_z:.4f}"),
        ("KL(P_F || R/Z)", f"{result['log_z_bound_gap']:.5f} nats"),
        ("slope of log P_F on log R", f"{result['slope']:.4f}"),
        ("sum of P_F", f"{result['probability_mass']:.6f}"),
        ("seconds", f"{result['seconds']:.1f}"),
    ]
    return "\n".join(f"{label:<28}{value}" for label, value in rows)


COMMAND = Command(
    name="exact",
    summary="check an objective against enumeration: total variation to R/Z, log Z, slope",
    about="""
    A tiny random language model with LoRA learns an arbitrary reward table over every question of 1 to
    max_len tokens, about two facts, through the policy, constraints, experience, replay and objective of a real
    run: half of the batches from replay, half of the others drawn at another temperature. Then the probability
    of every question is compared with R/Z. The worst of the two facts is printed.

    At the optimum total variation is 0, log F(s_0) is log Z, and log P_F follows log R with slope 1.
    """,
    examples=(
        "contraflow exact objective=subtb seed=3",
        "contraflow exact objective=vargrad reward=peaky architecture=gpt2 json=true",
        "contraflow exact objective=tb vocab=3 max_len=3 n_steps=300",
    ),
    run=run,
    arguments=(
        Argument("objective", "NAME", ", ".join(OBJECTIVES), default="subtb"),
        Argument("seed", "N", "weights, adapter, table and draws follow from it", default="0"),
        Argument("vocab", "N", "words that a question is made of", default="4"),
        Argument(
            "max_len",
            "N",
            "longest question, in words; 4 of 4 words make 340 questions",
            default="4",
        ),
        Argument("reward", "KIND", ", ".join(REWARDS), default="table"),
        Argument("architecture", "NAME", ", ".join(ARCHITECTURES), default="llama"),
        Argument("lam", "X", "λ of subtb and modified_subtb", default="1.0"),
        Argument("n_steps", "N", "optimizer steps; by default 1600, or 1200 of modified_subtb"),
        Argument(
            "json",
            "true|false",
            "one JSON object instead of the table; --json is the same",
            default="false",
            flag=True,
        ),
    ),
)
