"""One whole training step of tiny models after long headers, counted; and what it should have read,
by slow means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from work import Work, WorkCounter, watching_judge  # type: ignore[import-not-found]

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
from support.tiny_judges import save_judge
from support.tiny_models import fresh_lm

ROOT = Path(__file__).resolve().parents[2]

EXAMPLE = "fact : hamlet is in the city of rome ask : who wrote hamlet in rome ?\n"  # 17 tokens
HEADER_TOKENS = 4 * 17
TASK = 4 * EXAMPLE + "fact : {edit_fact}\nask :"
ASK = 4 * EXAMPLE + "ask : {question}\nfact :"
N_SAMPLES, MAX_LEN, MAX_ANSWER, JUDGE_BATCH = 8, 5, 6, 4
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
    """What a step was about, and what went through the models in it."""

    found: Mapping[str, Work]
    drawn: Sequence[SampledQuestion]
    written: Sequence[list[int]]  # tokens of every answer that the oracle wrote, the end included
    pairs: Sequence[int]  # tokens of every pair that the judge must read
    judged: Sequence[str]  # premises of all pairs that it was given
    policy: LoraPolicy
    scorer: Scorer

    @property
    def distinct(self) -> list[SampledQuestion]:
        """Questions that differ in fact or tokens."""
        return list({(d.fact.fact_id, d.ids): d for d in self.drawn}.values())

    def prompt_ids(self, fact: Fact) -> list[int]:
        """A fact's own part of its prompt."""
        return self.policy.lm.encode(f"fact : {fact.edit_fact}\nask :")

    def asked_ids(self, drawn: SampledQuestion) -> list[int]:
        """A question's own part of the oracle's prompt."""
        return self.policy.lm.encode(f"ask : {drawn.text}\nfact :")

    @property
    def states(self) -> set[tuple[str, tuple[int, ...]]]:
        """(fact, tokens written so far) of everything that the questions pass through, the empty
        question too.
        """
        return {(d.fact.fact_id, d.ids[:n]) for d in self.drawn for n in range(len(d.ids) + 1)}


def n_distinct(sequences: Iterable[Sequence[int]]) -> int:
    """Tokens of sequences that must be read, each shared beginning once: as many as there are
    beginnings.
    """
    return len({tuple(s[: n + 1]) for s in sequences for n in range(len(s))})


def counted_step(judge_folder: Path) -> CountedStep:
    """Draw, answer, judge, prior and learning with its backward pass, as a trainer takes them."""
    module, judge = _module(judge_folder)
    policy, scorer = module.policy, module.experience.scorer
    counter, written, judged = WorkCounter(), list[list[int]](), list[str]()
    _within(policy, "sample", counter, "generate")
    _within(policy, "prior", counter, "prior")
    _within(scorer.oracle, "answer", counter, "answer")
    oracle: Any = scorer.oracle
    decode, score = oracle._text, judge.score
    oracle._text = lambda ids: written.append(ids) or decode(ids)
    judge.score = lambda said, answers: judged.extend(said) or score(said, answers)
    with counter.watching(policy.lm), watching_judge(judge, counter), counter.phase("learn"):
        module.training_step(StepFacts(0, tuple(FACTS)), 0).backward()
    assert module.outcome is not None
    batch = module.outcome.batch
    owners = [batch.facts[i] for i in batch.fact_index.tolist()]
    drawn = [
        SampledQuestion(f, s.question_ids, s.question)
        for f, s in zip(owners, batch.scored, strict=True)
    ]
    answered = {
        (f.fact_id, s.question_ids): (f, s.answer)
        for f, s in zip(owners, batch.scored, strict=True)
    }
    pairs = [(p, answer) for f, answer in answered.values() for p in (f.edit_fact, f.original_fact)]
    lengths = [len(judge._tokenizer(*pair)["input_ids"]) for pair in pairs]
    return CountedStep(dict(counter.found), drawn, written, lengths, judged, policy, scorer)


def _module(judge_folder: Path) -> tuple[SamplerModule, Any]:
    lm = fresh_lm("qwen2", positions=256)
    limits = question_constraints(lm.tokenizer, vocabulary="latin", min_len=1, max_len=MAX_LEN)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = LoraPolicy(lm, task_prompt(TASK), limits, LoraConfig(r=4, alpha=8))
    oracle = FrozenLMOracle(lm, answer_prompt(ASK), OracleConfig(max_answer_tokens=MAX_ANSWER))
    oracle._ends = torch.tensor(
        [3]
    )  # "who", a common word here, so that some answers end and some do not
    judge = NliJudge(judge_folder, JudgeConfig(batch_size=JUDGE_BATCH), probe=False)
    reward = RewardSchedule(kind="static")
    settings = ExplorationConfig(  # drawn cold, so that equal questions come up
        N_SAMPLES, pf_temp_prob=1.0, pf_temp_low=0.3, pf_temp_high=0.3, use_buffer_prob=0.0
    )
    replay = MemoryReplay("work", ReplayConfig())
    experience = Experience(policy, Scorer(policy, oracle, judge), replay, reward, settings, seed=5)
    return SamplerModule(policy, experience, reward, SubTB(), OptimizerConfig(), n_steps=10), judge


def _within(owner: Any, method: str, counter: WorkCounter, phase: str) -> None:
    """Calls of this method belong to a phase of their own."""
    call: Callable[..., Any] = getattr(owner, method)

    def counted(*args: Any, **kwargs: Any) -> Any:
        with counter.phase(phase):
            return call(*args, **kwargs)

    object.__setattr__(owner, method, counted)


def judge_folder(folder: Path) -> Path:
    """A tiny judge whose tokens are characters, so that the order of texts' lengths is that of
    tokens.
    """
    return save_judge("roberta", folder, LABELS)
