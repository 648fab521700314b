"""A counted training step of tiny models with long headers, and the counts that it should have,
computed the slow way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.work.counter import Work, WorkCounter, watching_judge
from contraflow.experience.collect import Experience
from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.experience.stream import StepFacts
from contraflow.facts import Fact
from contraflow.gflownet.objectives import SubTB
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy
from contraflow.replay import MemoryReplay
from contraflow.reward.judge import LABELS, NliJudge
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.reward.schedule import RewardSchedule
from contraflow.settings.learning import ExplorationConfig, OptimizerConfig
from contraflow.settings.models import JudgeConfig, LoraConfig, OracleConfig
from contraflow.settings.running import ReplayConfig
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.training.module import SamplerModule
from support.judges import save_judge
from support.models import fresh_lm

EXAMPLE = "fact : hamlet is in the city of rome ask : who wrote hamlet in rome ?\n"  # 17 tokens
HEADER_TOKENS = 4 * 17
TASK = 4 * EXAMPLE + "fact : {edit_fact}\nask :"
ASK = 4 * EXAMPLE + "ask : {question}\nfact :"
N_SAMPLES = 8
MAX_LEN = 5
END = 3  # "who" is common here: some answers end and some do not
MAX_ANSWER = 6
JUDGE_BATCH = 4
FACTS = [
    Fact(
        fact_id="a",
        subject="hamlet",
        edit_fact="rome wrote hamlet",
        original_fact="who wrote hamlet",
    ),
    Fact(
        fact_id="b",
        subject="rome",
        edit_fact="rome is in hamlet",
        original_fact="rome is the capital",
    ),
    Fact(
        fact_id="c",
        subject="city",
        edit_fact="the capital of the city of hamlet is in the city of rome",
        original_fact="the capital of the city of rome is in the city of hamlet",
    ),
]


@dataclass(frozen=True)
class CountedStep:
    """The questions of a step, and the work of the models in it."""

    found: Mapping[str, Work]
    sampled: Sequence[SampledQuestion]
    written: Sequence[list[int]]  # tokens of every answer that the oracle wrote, the end included
    pairs: Sequence[int]  # tokens of every different pair that the judge must read
    judged: Sequence[str]  # premises of all pairs that the judge got
    policy: LoraPolicy
    scorer: Scorer

    @property
    def distinct(self) -> list[SampledQuestion]:
        """Questions that differ in fact or tokens."""
        return list({(s.fact.fact_id, s.ids): s for s in self.sampled}.values())

    def prompt_ids(self, fact: Fact) -> list[int]:
        """A fact's own part of its prompt."""
        return self.policy.lm.encode(f"fact : {fact.edit_fact}\nask :")

    def ask_ids(self, sampled: SampledQuestion) -> list[int]:
        """A question's own part of the oracle's prompt."""
        return self.policy.lm.encode(f"ask : {sampled.text}\nfact :")

    @property
    def states(self) -> set[tuple[str, tuple[int, ...]]]:
        """(fact, tokens so far) of every state of the questions, the empty question included."""
        return {(s.fact.fact_id, s.ids[:n]) for s in self.sampled for n in range(len(s.ids) + 1)}


def n_distinct(sequences: Iterable[Sequence[int]]) -> int:
    """Tokens to read when shared beginnings are read once: the number of distinct beginnings."""
    return len({tuple(s[: n + 1]) for s in sequences for n in range(len(s))})


def counted_step(judge_folder: Path) -> CountedStep:
    """Count a step as a trainer takes it: sample, answer, judge, prior, learn and backward."""
    module, judge = training_module(judge_folder)
    policy = module.policy
    scorer = module.experience.scorer
    oracle: Any = scorer.oracle
    counter = WorkCounter()
    written: list[list[int]] = []
    judged: list[str] = []
    _count_calls(policy, "sample", counter, "generate")
    _count_calls(policy, "prior", counter, "prior")
    _count_calls(oracle, "answer", counter, "answer")
    decode = oracle._texts
    score = judge.score
    # The end is read too, unless it did not fit.
    oracle._texts = lambda rows: (
        written.extend([*ids, END][:MAX_ANSWER] for ids in rows) or decode(rows)
    )
    judge.score = lambda premises, answers: judged.extend(premises) or score(premises, answers)
    with counter.watching(policy.lm), watching_judge(judge, counter), counter.phase("learn"):
        module.training_step(StepFacts(0, tuple(FACTS)), 0).backward()
    assert module.outcome is not None
    batch = module.outcome.batch
    sampled = []
    pairs: dict[tuple[str, str], int] = {}
    for row, scored in zip(batch.owners, batch.scored, strict=True):
        fact = batch.facts[row]
        sampled.append(SampledQuestion(fact, scored.question_ids, scored.question))
        for statement in (fact.edit_fact, fact.original_fact):
            pair = (statement, scored.answer)
            pairs[pair] = len(judge._tokenizer(*pair)["input_ids"])
    lengths = list(pairs.values())
    return CountedStep(dict(counter.found), sampled, written, lengths, judged, policy, scorer)


def training_module(judge_folder: Path) -> tuple[SamplerModule, Any]:
    """What a step takes: a tiny model with long headers, and its judge."""
    lm = fresh_lm("qwen2", positions=256)
    limits = question_constraints(lm.tokenizer, vocabulary="latin", min_len=1, max_len=MAX_LEN)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = LoraPolicy(lm, task_prompt(TASK), limits, LoraConfig(r=4, alpha=8))
    oracle = FrozenLMOracle(lm, answer_prompt(ASK), OracleConfig(max_answer_tokens=MAX_ANSWER))
    oracle._ends = torch.tensor([END])
    judge = NliJudge(judge_folder, JudgeConfig(batch_size=JUDGE_BATCH), probe=False)
    reward = RewardSchedule(kind="static")
    # A low temperature, so that equal questions come up.
    settings = ExplorationConfig(
        N_SAMPLES, pf_temp_prob=1.0, pf_temp_low=0.3, pf_temp_high=0.3, use_buffer_prob=0.0
    )
    replay = MemoryReplay("work", ReplayConfig())
    experience = Experience(policy, Scorer(policy, oracle, judge), replay, reward, settings, seed=7)
    return SamplerModule(policy, experience, reward, SubTB(), OptimizerConfig(), n_steps=10), judge


def _count_calls(owner: Any, method: str, counter: WorkCounter, phase: str) -> None:
    """Count the calls of a method of one object under a phase of their own."""
    call: Callable[..., Any] = getattr(owner, method)

    def counted(*args: Any, **kwargs: Any) -> Any:
        with counter.phase(phase):
            return call(*args, **kwargs)

    object.__setattr__(owner, method, counted)


def judge_folder(folder: Path) -> Path:
    """Save a tiny judge whose tokens are characters, so that texts sort by length as tokens do."""
    return save_judge("roberta", folder, LABELS)
