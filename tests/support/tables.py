"""Tables in place of oracle and judge, and a small policy and experience around them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch

from contraflow.exactness.space import EchoOracle, TableJudge
from contraflow.experience.collect import Experience
from contraflow.experience.scorer import Scorer
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


class RecordingOracle(EchoOracle):
    """Answers with the question and records it; log P_A is minus its number of characters."""

    def __init__(self) -> None:
        self.questions: list[str] = []

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        self.questions += questions
        return [Answer(a.text, -float(len(a.text))) for a in super().answer(questions)]


class RecordingJudge(TableJudge):
    """Looks up log C of a (premise, hypothesis) and records the pair.

    A test may replace `log_c`.
    """

    def __init__(self, log_c: Callable[[str, str], float]) -> None:
        super().__init__(self._look_up)
        self.log_c = log_c
        self.pairs: list[tuple[str, str]] = []

    def _look_up(self, premise: str, hypothesis: str) -> float:
        return self.log_c(premise, hypothesis)

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> NliScores:
        self.pairs += zip(premises, hypotheses, strict=True)
        return super().score(premises, hypotheses)


def arbitrary_log_c(premise: str, hypothesis: str) -> float:
    """Return an arbitrary number in (−4, 0), the same in every process."""
    digest = hashlib.sha256(f"{premise}|{hypothesis}".encode()).digest()
    return -4.0 * int.from_bytes(digest[:4], "big") / 2**32 - 1e-3


PROMPT = "ask : who is rome\nfact : {edit_fact}\nask :"


def small_policy(
    lm: CausalLM,
    n_tokens: int = 3,
    min_len: int = 1,
    max_len: int = 3,
    lora: LoraConfig | None = None,
    prompt: str = PROMPT,
) -> LoraPolicy:
    """Return a policy over the first words after the special ids (3, 4, …); the stop is 1.

    Every call gives equal weights.
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
    """Return an experience of policy, tables and memory replay.

    Near-duplicates are kept, because questions of three tokens differ by little.
    """
    return Experience(
        policy,
        Scorer(policy, RecordingOracle(), RecordingJudge(log_c)),
        MemoryReplay("test", replay or ReplayConfig(capacity_per_fact=64, near_duplicate=0.0)),
        reward or RewardSchedule(kind="static", question_failure_penalty=0.0),
        settings or ExplorationConfig(n_samples=4, use_buffer_prob=0.0, pf_temp_prob=0.0),
        seed=seed,
        rank=rank,
    )
