"""The pipeline that one writes first, for `gpu.py` to compare with: plain `generate()` and plain
forwards.

Two copies of the model, one with the adapter; the whole prompt, few-shot header and all, read for
every question; questions padded to the longest and kept to the end; one judge call a question and
statement; the full vocabulary, and a forward for each use of the logits: one for the tokens, one
for the stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig

from contraflow.facts import Fact
from contraflow.gflownet.objectives import Objective, potentials
from contraflow.models.causal_lm import CausalLM
from contraflow.reward.judge import NliJudge
from contraflow.types import PathLogProbs, TerminalReward
from offline import byte_tokenizer


class Straightforward:
    """The five phases over models of its own; only the judge is the other pipeline's."""

    def __init__(
        self,
        config: PreTrainedConfig,
        prompts: tuple[str, str],
        judge: NliJudge,
        n_tokens: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.task, self.answer_prompt = prompts
        self.judge_model, self.n_tokens, self.device = judge, n_tokens, device
        self.tokenizer = byte_tokenizer(config.vocab_size)
        torch.manual_seed(0)
        self.base = AutoModelForCausalLM.from_config(config, dtype=dtype).to(device).eval()
        sampler = AutoModelForCausalLM.from_config(config, dtype=dtype).to(device).eval()
        lora = LoraConfig(r=16, lora_alpha=32, target_modules=["c_attn"], fan_in_fan_out=True)
        self.sampler: Any = get_peft_model(sampler, lora)
        self.stop = self.tokenizer("?")["input_ids"][0]
        self.optimizer = torch.optim.AdamW(
            [p for p in self.sampler.parameters() if p.requires_grad], lr=1e-4
        )

    def _padded(self, texts: Sequence[str]) -> dict[str, Tensor]:
        found = self.tokenizer(list(texts), padding=True, return_tensors="pt").to(self.device)
        return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}

    def _prompts(self, facts: Sequence[Fact], n: int) -> list[str]:
        return [self.task.replace("{subject}", fact.subject) for fact in facts for _ in range(n)]

    @torch.no_grad()
    def generate(self, facts: Sequence[Fact], n: int) -> list[str]:
        """n questions of each fact, every one to the full length."""
        inputs = self._padded(self._prompts(facts, n))
        out = self.sampler.generate(
            **inputs,
            do_sample=True,
            top_k=0,
            min_new_tokens=self.n_tokens,
            max_new_tokens=self.n_tokens,
            pad_token_id=0,
        )
        self.questions: Int[Tensor, "b t"] = out[:, inputs["input_ids"].shape[1] :]
        return [text.strip() + "?" for text in self.tokenizer.batch_decode(self.questions)]

    @torch.no_grad()
    def answer(self, questions: Sequence[str]) -> list[str]:
        """Greedy, by the second copy of the model."""
        inputs = self._padded([self.answer_prompt.replace("{question}", q) for q in questions])
        out = self.base.generate(
            **inputs,
            do_sample=False,
            min_new_tokens=self.n_tokens,
            max_new_tokens=self.n_tokens,
            pad_token_id=0,
        )
        return list(self.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :]))

    def judge(self, facts: Sequence[Fact], answers: Sequence[str]) -> Float[Tensor, " b"]:
        """A call for each statement and answer."""
        n = len(answers) // len(facts)
        owners = [fact for fact in facts for _ in range(n)]
        scores = []
        for fact, answer in zip(owners, answers, strict=True):
            scores.append(self.judge_model.score([fact.edit_fact], [answer]).log_contradiction)
            self.judge_model.score([fact.original_fact], [answer])
        return torch.cat(scores).to(self.device)

    @torch.no_grad()
    def prior(self, facts: Sequence[Fact], n: int) -> PathLogProbs:
        """The second copy's view of the questions."""
        return self._score(self.base, facts, n)

    def learn(
        self, facts: Sequence[Fact], n: int, log_reward: Tensor, objective: Objective
    ) -> float:
        """A step of the optimizer."""
        paths = self._score(self.sampler, facts, n)
        group = torch.arange(len(facts), device=self.device).repeat_interleave(n)
        loss = objective(potentials(paths, TerminalReward(log_reward)), group)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def _score(self, model: Any, facts: Sequence[Fact], n: int) -> PathLogProbs:
        inputs = self._padded(self._prompts(facts, n))
        ids = torch.cat([inputs["input_ids"], self.questions], 1)
        mask = torch.cat([inputs["attention_mask"], torch.ones_like(self.questions)], 1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        start = inputs["input_ids"].shape[1] - 1

        def log_probs() -> Tensor:
            out: Tensor = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
            return out[:, start:].float().log_softmax(-1)

        log_pf = log_probs()[:, :-1].gather(2, self.questions[..., None]).squeeze(2)
        log_pterm = log_probs()[..., self.stop]
        lengths = torch.full((len(ids),), self.questions.shape[1], device=self.device)
        return PathLogProbs(log_pf, log_pterm, torch.zeros_like(log_pterm), lengths)

    def weight_bytes(self) -> int:
        """Of both copies."""
        return sum(
            p.numel() * p.element_size() for m in (self.base, self.sampler) for p in m.parameters()
        )


def bytes_of(lm: CausalLM) -> int:
    """Of one model, adapter included."""
    return sum(p.numel() * p.element_size() for p in lm.model.parameters())
