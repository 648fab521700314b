"""Stand-ins behind the Protocols of oracle and judge, whose words are looked up, and a small world
around them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import torch

from contraflow.experience.collect import Experience
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from contraflow.policy.constraints import Constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.replay import MemoryReplay
from contraflow.reward.judge.scores import NliScores
from contraflow.reward.schedule import RewardSchedule
from contraflow.settings.learning import ExplorationConfig
from contraflow.settings.models import LoraConfig
from contraflow.settings.running import ReplayConfig
from contraflow.text.prompts import task_prompt
from contraflow.types import Answer


class EchoOracle:
    """Answers with the question itself, so that a judge can tell questions apart; counts what it is
    asked.
    """

    identity = "echo"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        self.asked += questions
        return [Answer(q, -float(len(q))) for q in questions]


class TableJudge:
    """log C is a function of (premise, hypothesis)."""

    identity = "table"

    def __init__(self, log_c: Callable[[str, str], float]) -> None:
        self.log_c = log_c
        self.pairs: list[tuple[str, str]] = []

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> NliScores:
        pairs = list(zip(premises, hypotheses, strict=True))
        self.pairs += pairs
        log_c = torch.tensor([self.log_c(p, h) for p, h in pairs])
        rest = torch.log1p(-log_c.exp()) - math.log(2)
        return NliScores(torch.stack([rest, rest, log_c], 1))


def arbitrary_log_c(premise: str, hypothesis: str) -> float:
    """A number in (-4, 0) that nobody could guess and that is the same everywhere."""
    digest = hashlib.sha256(f"{premise}|{hypothesis}".encode()).digest()
    return -4.0 * int.from_bytes(digest[:4], "big") / 2**32 - 1e-3


FACTS = [
    Fact(
        fact_id="a",
        subject="hamlet",
        edit_fact="rome wrote hamlet",
        original_answer="who",
        edited_answer="rome",
    ),
    Fact(fact_id="b", subject="rome", edit_fact="the capital of the city is rome in hamlet"),
]
PROMPT = "ask : who is rome\nfact : {edit_fact}\nask :"


def small_policy(
    lm: CausalLM,
    n_tokens: int = 3,
    min_len: int = 1,
    max_len: int = 3,
    lora: LoraConfig | None = None,
    prompt: str = PROMPT,
) -> LoraPolicy:
    """A policy over the first words after the special ids (3, 4, …); stop is 1. Equal weights at
    every call.
    """
    constraints = Constraints(torch.tensor([*range(3, 3 + n_tokens), 1]), min_len, max_len)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LoraPolicy(lm, task_prompt(prompt), constraints, lora or LoraConfig(r=4, alpha=8))


def small_experience(
    policy: LoraPolicy,
    *,
    reward: RewardSchedule | None = None,
    log_c: Callable[[str, str], float] = arbitrary_log_c,
    settings: ExplorationConfig | None = None,
    replay: ReplayConfig | None = None,
    seed: int = 0,
    rank: int = 0,
) -> Experience:
    """Policy, table oracle and judge, memory replay. Near-duplicates are kept: questions here are
    that short.
    """
    return Experience(
        policy,
        Scorer(policy, EchoOracle(), TableJudge(log_c)),
        MemoryReplay(
            "test", replay or ReplayConfig(capacity_per_fact=64, near_duplicate=0.0)
        ),
        reward or RewardSchedule(kind="static", question_failure_penalty=0.0),
        settings or ExplorationConfig(n_samples=4, use_buffer_prob=0.0, pf_temp_prob=0.0),
        seed=seed,
        rank=rank,
    )
