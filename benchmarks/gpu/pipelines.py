"""The two pipelines that are compared on a GPU, on random weights of a size."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedConfig

from benchmarks.random_models import (
    byte_tokenizer,
    deberta_config,
    gpt2_config,
    random_judge,
    random_lm,
)
from benchmarks.straightforward import Straightforward
from benchmarks.straightforward_models import random_pipeline
from contraflow import compose_config
from contraflow.experience.collect import sample_questions
from contraflow.experience.scorer import SampledQuestion
from contraflow.facts import Fact
from contraflow.gflownet.objectives import SubTB, potentials
from contraflow.models.causal_lm import CausalLM
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy, fact_index_of, stack_questions
from contraflow.reward.judge import NliJudge
from contraflow.reward.judge.recorded import ROUNDING, RecordedNetwork, remember_positions
from contraflow.reward.judge.relative import share_positions
from contraflow.reward.judge.scoring import EXACT
from contraflow.reward.oracle import FrozenLMOracle
from contraflow.seeding import torch_rng
from contraflow.settings.models import JudgeConfig, LoraConfig, OracleConfig
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import TerminalReward

PHASES = ("generate", "answer", "judge", "prior", "learn")
AT_ONCE = "judge at once"  # the straightforward pipeline's judge in one batch, beside its step
OBJECTIVE = SubTB(0.9)
JUDGE_BATCH = 128

Phase = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Size:
    """Shapes of the models and of a step."""

    sampler: PreTrainedConfig
    judge: PreTrainedConfig
    facts: int
    questions: int  # per fact
    tokens: int  # of each question and answer
    curve: tuple[int, ...]  # rows of the decoding passes


LARGE = Size(
    gpt2_config(36, 1280, 20, 50257),
    deberta_config(24, 1024, 16, 50257),
    facts=8,
    questions=8,
    tokens=25,
    curve=(8, 64, 128, 512),
)
TINY = Size(
    gpt2_config(2, 32, 4, 300),
    deberta_config(1, 32, 4, 300),
    facts=2,
    questions=4,
    tokens=6,
    curve=(8, 16),
)


class Ours:
    """The package's own parts on one backbone."""

    def __init__(self, size: Size, lm: CausalLM, judge: NliJudge, prompts: tuple[str, str]) -> None:
        self.size = size
        self.judge = judge
        self.lm = lm
        constraints = question_constraints(
            lm.tokenizer,
            vocabulary="latin",
            min_len=size.tokens,
            max_len=size.tokens,
            device=lm.device,
        )
        lora = LoraConfig(target_modules=["c_attn"])
        self.policy = LoraPolicy(lm, task_prompt(prompts[0]), constraints, lora)
        answers = OracleConfig(max_answer_tokens=size.tokens, batch_size=512)
        self.oracle = FrozenLMOracle(lm, answer_prompt(prompts[1]), answers)
        self.oracle._ends = self.oracle._ends[:0]  # no token ends an answer
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        trained += [p for p in lm.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4)

    def write(
        self, facts: Sequence[Fact], seed: int, phase: Phase
    ) -> tuple[list[SampledQuestion], list[str]]:
        """Questions about the facts, and their answers."""
        with phase("generate"):
            rng = torch_rng(seed, device=self.lm.device)
            sampled = sample_questions(self.policy, facts, self.size.questions, rng)
        with phase("answer"):
            answers = [a.text for a in self.oracle.answer([s.text for s in sampled])]
        return sampled, answers

    def step(self, facts: Sequence[Fact], seed: int, phase: Phase) -> None:
        """One training step without replay. Questions differ each time, so no cache helps."""
        device = self.lm.device
        n = self.size.questions
        sampled, answers = self.write(facts, seed, phase)
        with phase("judge"):
            premises = [s.fact.edit_fact for s in sampled] + [s.fact.original_fact for s in sampled]
            log_c = self.judge.score(premises, 2 * answers).log_contradiction[: len(sampled)]
        owners = [i for i in range(len(facts)) for _ in range(n)]
        questions = stack_questions([s.ids for s in sampled], "cpu")
        with phase("prior"):
            paths = self.policy.prior(facts, owners, questions)
            torch.cat([paths.log_pf, paths.log_p_stop[:, None]], 1).tolist()
        with phase("learn"):
            paths = self.policy.evaluate(facts, owners, questions)
            index = fact_index_of(facts, [s.fact.key for s in sampled], device)
            loss = OBJECTIVE(potentials(paths, TerminalReward(log_c.to(device))), index)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def weight_bytes(self) -> int:
        """Bytes of the one model, adapter included."""
        return sum(p.numel() * p.element_size() for p in self.lm.model.parameters())


def straightforward_step(
    plain: Straightforward, facts: Sequence[Fact], n: int, phase: Phase
) -> None:
    """The same step on the straightforward pipeline, with ``n`` questions per fact."""
    about = [fact for fact in facts for _ in range(n)]
    prompts = plain.task_prompts(facts, n)
    with phase("generate"):
        questions = plain.sample(prompts)
        texts = plain.question_texts(questions)
    with phase("answer"):
        answers = plain.answer_texts(plain.answer(plain.answer_prompts(texts)))
    with phase("judge"):
        log_c, _ = plain.judge(about, answers)
    with phase(AT_ONCE):
        plain.judge_at_once(about, answers)
    with phase("prior"):
        plain.prior(prompts, questions)
    with phase("learn"):
        plain.learn(prompts, questions, log_c, OBJECTIVE, len(facts))
        plain.update()


def step_prompts() -> tuple[str, str]:
    """The task prompt and the answer prompt of the published setting."""
    config = compose_config(["experiment=gpt2_large_zsre", "data.facts=none"])
    return config.prompt.task, config.prompt.answer


def judge_on(size: Size, device: torch.device, dtype: torch.dtype) -> NliJudge:
    """The package's judge with random weights of a size.

    It is loaded from a folder with one narrow layer, since writing and reading the large one would
    take longer than all else.
    """
    names = {0: "entailment", 1: "neutral", 2: "contradiction"}
    narrow: Any = copy.deepcopy(TINY.judge)
    narrow.id2label = names
    narrow.vocab_size = size.judge.vocab_size
    with tempfile.TemporaryDirectory() as folder:
        random_judge(narrow, torch.device("cpu"), dtype).save_pretrained(folder)
        tokenizer = byte_tokenizer(size.judge.vocab_size)
        tokenizer.padding_side = "right"  # DeBERTa's scores are of the first position
        tokenizer.save_pretrained(folder)
        settings = JudgeConfig(batch_size=JUDGE_BATCH)
        judge = NliJudge(folder, settings, device=str(device), dtype=dtype, probe=False)
    judge._model = random_judge(size.judge, device, dtype)
    remember_positions(judge._model)
    share_positions(judge._model)
    return judge


def plain_judge(judge: NliJudge) -> NliJudge:
    """The same judge without recordings, and with shapes as they come."""
    plain = copy.copy(judge)
    plain._raw = replace(judge._raw, network=judge._log_probs, rounding=EXACT)
    return plain


def recorded_judge(judge: NliJudge) -> tuple[NliJudge, RecordedNetwork]:
    """The same judge with rounded shapes and new recordings, on a CPU too; and what it records."""
    recorded = copy.copy(judge)
    weight = judge._model.classifier.weight
    network = RecordedNetwork(judge._log_probs, weight.device, dtype=weight.dtype, always=True)
    recorded._raw = replace(judge._raw, network=network, rounding=ROUNDING)
    return recorded, network


def both_pipelines(
    size: Size, device: torch.device, dtype: torch.dtype
) -> tuple[Ours, Straightforward]:
    """The package's pipeline and the straightforward one, which share the judge's weights."""
    prompts = step_prompts()
    judge = judge_on(size, device, dtype)
    ours = Ours(size, random_lm(size.sampler, device, dtype), judge, prompts)
    plain = random_pipeline(size.sampler, prompts, plain_judge(judge), size.tokens, device, dtype)
    return ours, plain
