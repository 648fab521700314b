"""`contraflow exact`: compare an objective with the exact distribution on an enumerable space."""

from __future__ import annotations

import json

from contraflow.cli.command import Argument, Command, ParsedArguments
from contraflow.cli.commands._unused import print_warnings
from contraflow.errors import UserError
from contraflow.settings.learning import (
    BALANCE,
    PENALTIES,
    POLICY_GRADIENTS,
    SUB_TRAJECTORIES,
    ObjectiveConfig,
)

OBJECTIVES = (*BALANCE, *POLICY_GRADIENTS)
# Copies of the names in exactness/space.py, which imports torch.
REWARDS = ("table", "random", "sparse", "peaky")
ARCHITECTURES = ("llama", "gpt2")
MAX_TOKENS = 12
MAX_QUESTIONS = 4000
DEFAULT_STEPS = 1600
# Its steps judge every prefix, so that each step learns more.
STEPS_OF_OBJECTIVE = {"modified_subtb": 1200}


def run(args: ParsedArguments) -> int:
    """Learn a reward table through the real training path and print the distance to R / Z."""
    name = args.choice("objective", OBJECTIVES)
    reward = args.choice("reward", REWARDS)
    architecture = args.choice("architecture", ARCHITECTURES)
    vocab = args.integer("vocab", 2)
    max_len = args.integer("max_len", 1)
    for key, value in (("vocab", vocab), ("max_len", max_len)):
        if value > MAX_TOKENS:
            raise UserError(f"{key}={value}: must be at most {MAX_TOKENS}")
    n_questions = sum(vocab**n for n in range(1, max_len + 1))
    if n_questions > MAX_QUESTIONS:
        raise UserError(
            f"vocab={vocab} max_len={max_len}: {n_questions} questions are too many to enumerate; "
            f"keep vocab + vocab² + … + vocab^max_len at {MAX_QUESTIONS} or less"
        )
    as_json = args.boolean("json")
    seed = args.integer("seed", 0)
    n_steps = args.optional_integer("n_steps", 1) or STEPS_OF_OBJECTIVE.get(name, DEFAULT_STEPS)
    learned = _objective(args, name)
    print_warnings(_without_effect(args, learned))
    distinct = args.boolean("distinct")

    from contraflow.exactness.check import ExactSettings, adapter_lr, run_exact
    from contraflow.run.learning import build_objective
    from contraflow.settings import Config
    from contraflow.system.progress import bar
    from contraflow.training.loss import StepLoss

    loss = StepLoss.of(build_objective(Config(objective=learned)), learned, n_steps)
    settings = ExactSettings(
        objective=name,
        seed=seed,
        vocab=vocab,
        max_len=max_len,
        reward=reward,  # type: ignore[arg-type]
        architecture=architecture,  # type: ignore[arg-type]
        n_steps=n_steps,
        lr=adapter_lr(name),
        distinct=distinct,
    )
    with bar(f"exact: {name}, {n_questions} questions, reward={reward}", n_steps) as progress:
        result = run_exact(settings, loss, lambda: progress.advance(1)).as_dict()
    chosen = {key: getattr(learned, key) for key in ("lam", "penalty", "alpha", "bound")}
    chosen["forward_kl"] = learned.forward_kl
    print(json.dumps(vars(settings) | chosen | result) if as_json else _table(result))
    return 0


def _objective(args: ParsedArguments, name: str) -> ObjectiveConfig:
    """The settings of the loss. Raises: UserError that names the arguments of this command."""
    bound = None if args.text("bound") is None else args.positive("bound")
    share = args.text("forward_kl")
    forward_kl = 0.0 if share in (None, "0", "0.0") else args.positive("forward_kl")
    lam = args.positive("lam")
    penalty = args.choice("penalty", PENALTIES)
    alpha = args.positive("alpha")
    try:
        return ObjectiveConfig(
            name=name, lam=lam, penalty=penalty, alpha=alpha, bound=bound, forward_kl=forward_kl
        )
    except UserError as error:
        # An argument has the name of its setting; `objective` alone is objective.name.
        message = str(error).replace("objective.name=", "objective=").replace("objective.", "")
        raise UserError(message) from None


def _without_effect(args: ParsedArguments, learned: ObjectiveConfig) -> list[str]:
    """A line for each given argument that the loss does not use."""
    lines: list[str] = []
    if "lam" in args.values and learned.name not in SUB_TRAJECTORIES:
        users = ", ".join(SUB_TRAJECTORIES)
        lines.append(f"lam has no effect with objective={learned.name}; {users} use it")
    if "alpha" in args.values and learned.penalty != "linex":
        lines.append(f"alpha has no effect with penalty={learned.penalty}; penalty=linex uses it")
    return lines


def _table(result: dict[str, float | int | None]) -> str:
    distance = (
        f"{result['total_variation']:.4f}   (untrained {result['total_variation_untrained']:.4f})"
    )
    log_z_error = result["log_z_error"]
    rows = [
        ("questions per fact", f"{result['n_questions']}"),
        ("total variation to R/Z", distance),
        ("error of log Z", "no Z is modeled" if log_z_error is None else f"{log_z_error:.4f}"),
        ("KL(P_F || R/Z)", f"{result['log_z_bound_gap']:.5f} nats"),
        ("slope of log P_F on log R", f"{result['slope']:.4f}"),
        ("sum of P_F", f"{result['probability_mass']:.6f}"),
        ("seconds", f"{result['seconds']:.1f}"),
    ]
    return "\n".join(f"{label:<28}{value}" for label, value in rows)


COMMAND = Command(
    name="exact",
    summary="check an objective against enumeration: total variation to R/Z, log Z, slope",
    description="""
    A tiny random language model with LoRA learns an arbitrary reward table over every question of 1
    to max_len tokens, about two facts, through the policy, constraints, experience, replay and
    objective of a real run: half of the batches come from replay, and half of the others are
    sampled at another temperature. Then the probability of every question is compared with R/Z. The
    worse of the two facts is printed.

    At the optimum total variation is 0, log F(s_0) is log Z, and log P_F is log R plus a constant
    (slope 1). Policy gradients (rloo, grpo) see their own draws only; the optimum of grpo is not
    R/Z.
    """,
    examples=(
        "contraflow exact objective=subtb seed=3",
        "contraflow exact objective=vargrad reward=peaky architecture=gpt2 json=true",
        "contraflow exact objective=tb vocab=3 max_len=3 n_steps=300",
        "contraflow exact objective=vargrad penalty=linex distinct=true",
    ),
    run=run,
    arguments=(
        Argument("objective", "NAME", ", ".join(OBJECTIVES), default="subtb"),
        Argument("seed", "N", "seed of weights, adapter, reward table and samples", default="0"),
        Argument("vocab", "N", "number of words in the vocabulary", default="4"),
        Argument(
            "max_len",
            "N",
            "longest question, in words; 4 words and length 4 give 340 questions",
            default="4",
        ),
        Argument("reward", "KIND", ", ".join(REWARDS), default="table"),
        Argument("architecture", "NAME", ", ".join(ARCHITECTURES), default="llama"),
        Argument("lam", "X", "λ of subtb and modified_subtb", default="1.0"),
        Argument("penalty", "NAME", ", ".join(PENALTIES), default="square"),
        Argument("alpha", "X", "α of penalty=linex", default="1.0"),
        Argument("bound", "X", "residuals above it count linearly; by default there is no bound"),
        Argument("forward_kl", "SHARE", "share of the forward KL in the loss; by default 0"),
        Argument(
            "distinct",
            "true|false",
            "draw without replacement, as exploration.distinct",
            default="false",
        ),
        Argument("n_steps", "N", "optimizer steps; by default 1600, or 1200 for modified_subtb"),
        Argument(
            "json",
            "true|false",
            "print one JSON object instead of the table; --json is the same",
            default="false",
            flag=True,
        ),
    ),
)
