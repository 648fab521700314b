"""An enumerable space: a tiny language model, two facts, all questions, and a reward table.

Policy, constraints, scorer, experience and replay are those of a real run. Only the oracle and the
judge are replaced: the oracle echoes its question and the judge looks its scores up in a table, so
the exact target R / Z is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import torch
from jaxtyping import Float
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from contraflow.policy.constraints import Constraints
from contraflow.policy.lora import ALL_LINEAR, LoraPolicy, stack_questions
from contraflow.reward.judge.scores import NliScores
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.seeding import derived_seed
from contraflow.settings.models import LoraConfig
from contraflow.text.prompts import task_prompt
from contraflow.types import Answer

Architecture = Literal["gpt2", "llama"]
RewardKind = Literal["table", "random", "sparse", "peaky"]
ARCHITECTURES: tuple[Architecture, ...] = ("gpt2", "llama")
REWARD_KINDS: tuple[RewardKind, ...] = ("table", "random", "sparse", "peaky")

_WORDS = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
_OTHER_TOKENS = ["<pad>", "?", "ask", ":", "first", "second", "fact", "of", "the", "\n", "<unk>"]
_PROMPT = "ask the fact : a b c ?\nask {edit_fact} :"
_WEIGHT_SCALE = 3.0
_HEAD_SCALE = 3.0

# The second prompt is shorter, so that padding is covered.
FACTS = (
    Fact(fact_id="first", subject="first", edit_fact="the first fact of a"),
    Fact(fact_id="second", subject="second", edit_fact="second fact"),
)


@dataclass(frozen=True)
class Space:
    """A policy, its scorer, the reward, and all questions that the environment can produce."""

    policy: LoraPolicy
    scorer: Scorer
    reward: RewardSchedule
    questions: tuple[tuple[int, ...], ...]

    def log_reward(self, fact: Fact) -> Float[Tensor, " q"]:
        """Return log R of every question in float64, from the scorer and the reward schedule."""
        sampled = [
            SampledQuestion(fact, ids, self.policy.question_text(ids)) for ids in self.questions
        ]
        return self.reward(RewardParts.of(self.scorer.score(sampled, 0)), 0).log_reward.double()

    @torch.no_grad()
    def log_pf(self, fact: Fact) -> tuple[Float[Tensor, " q"], float]:
        """Return log P_F of every question in float64, and log F(s_0), the learned log Z."""
        index = torch.zeros(len(self.questions), dtype=torch.long, device=self.policy.lm.device)
        paths = self.policy.evaluate(
            [fact], index, stack_questions(self.questions, self.policy.lm.device)
        )
        return paths.log_p_question.double(), float(paths.log_flow[0, 0])


def make_space(
    *, architecture: Architecture, n_tokens: int, max_len: int, reward: RewardKind, seed: int
) -> Space:
    """Return the space of questions of 1 to ``max_len`` tokens over ``n_tokens`` words.

    The seed determines model weights, adapter and reward table.
    """
    lm = _tiny_lm(architecture, seed)
    first = lm.encode(_WORDS[0])[0]
    stop = lm.encode("?")[0]
    tokens = range(first, first + n_tokens)
    constraints = Constraints(torch.tensor([*tokens, stop]), 1, max_len)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed("exact", "adapter", seed) % 2**32)
        lora = LoraConfig(r=16, alpha=32, target_modules=[ALL_LINEAR])
        policy = LoraPolicy(lm, task_prompt(_PROMPT), constraints, lora)
    questions: list[tuple[int, ...]] = []
    for length in range(1, max_len + 1):
        questions += itertools.product(tokens, repeat=length)
    scorer = Scorer(policy, EchoOracle(), TableJudge(_table(reward, seed)))
    # With these settings log R is the table's log C alone.
    schedule = RewardSchedule(kind="static", likelihood_weight=0.0, question_failure_penalty=0.0)
    return Space(policy, scorer, schedule, tuple(questions))


class EchoOracle:
    """Answers with the question itself, so that each question has a table entry of its own."""

    identity = "echo"

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Return each question as its answer, with log P_A = 0."""
        return [Answer(question, 0.0) for question in questions]


class TableJudge:
    """Looks log C up by (fact, answer); the other two labels share the rest of the probability."""

    identity = "table"

    def __init__(self, log_c: Callable[[str, str], float]) -> None:
        self._log_c = log_c

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> NliScores:
        """Return the scores of each (premise, hypothesis) pair, in order."""
        pairs = zip(premises, hypotheses, strict=True)
        log_c = torch.tensor([self._log_c(premise, hypothesis) for premise, hypothesis in pairs])
        rest = torch.log1p(-log_c.exp()) - math.log(2)
        return NliScores(torch.stack([rest, rest, log_c], 1))


def _table(kind: RewardKind, seed: int) -> Callable[[str, str], float]:
    """Return a function that gives each pair a reproducible pseudo-random log C below 0.

    ``kind`` selects the distribution of the values.
    """

    def log_c(premise: str, hypothesis: str) -> float:
        u = (derived_seed("exact", kind, seed, premise, hypothesis) + 0.5) / 2**63
        if kind == "table":
            return -4.0 * u
        if kind == "random":
            return min(-1e-3, -5.0 + 1.5 * NormalDist().inv_cdf(u))
        if kind == "sparse":
            return -20.0 * u if u < 0.05 else -7.0
        return -10.0 * math.sqrt(math.sqrt(u))

    return log_c


def _tokenizer() -> PreTrainedTokenizerFast:
    # The words have consecutive ids: `make_space` takes the first n of them as tokens.
    words = [*_OTHER_TOKENS[:2], *_WORDS, *_OTHER_TOKENS[2:]]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<pad>"
    )


def _tiny_lm(architecture: Architecture, seed: int) -> CausalLM:
    """Return a random model of two layers with larger weights than usual, so a non-uniform prior.

    The input of the head is normalized and the head is frozen, so the norm of its rows bounds the
    logits: with small rows no adapter could fit a peaky table. The head is not tied to the
    embeddings, since large tied rows would make every word predict itself before training.
    """
    tokenizer = _tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed("exact", "weights", seed) % 2**32)
        model = _gpt2(len(tokenizer)) if architecture == "gpt2" else _llama(len(tokenizer))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(_WEIGHT_SCALE)
        model.get_output_embeddings().weight.mul_(_HEAD_SCALE)
    return CausalLM(model.eval(), tokenizer, identity=f"tiny-{architecture}-{seed}")


def _gpt2(vocabulary: int) -> PreTrainedModel:
    model: PreTrainedModel = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_embd=64,
            n_layer=2,
            n_head=4,
            n_positions=64,
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    return model


def _llama(vocabulary: int) -> PreTrainedModel:
    model: PreTrainedModel = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            tie_word_embeddings=False,
        )
    )
    return model
