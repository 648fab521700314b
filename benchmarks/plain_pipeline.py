"""The training step as one writes it first, to compare with: Hugging Face `generate()` and whole
sequences throughout.

Two copies of the model (sampler and oracle), every prompt in full for every question and every use,
logits of the whole vocabulary at every position computed anew wherever a likelihood is wanted, one
judge call per pair. It draws from the same environment (allowed tokens, lengths, one stop) and
computes the same reward and loss as the package, one fact after another, as its memory grows with
the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList

from clock import Clock
from contraflow.facts import Fact
from contraflow.models.resolve import resolve_model
from contraflow.policy.constraints import Constraints, question_constraints
from contraflow.reward.schedule import RewardParts
from contraflow.run import build
from contraflow.settings import Config
from contraflow.text.checks import question_ok
from contraflow.text.prompts import answer_prompt, task_prompt

Rows = list[list[int]]


class Environment(LogitsProcessor):
    """Which tokens exist at which step, for `generate()` and for likelihoods alike."""

    def __init__(self, constraints: Constraints, vocab: int, start: int) -> None:
        self.constraints, self.start = constraints, start
        self.banned = torch.ones(vocab, dtype=torch.bool, device=constraints.action_ids.device)
        self.banned[constraints.action_ids] = False

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        return self.at(scores, ids.shape[1] - self.start)

    def at(self, scores: Tensor, step: int) -> Tensor:
        """Scores with what does not exist at this step at minus infinity."""
        stop = self.constraints.stop_id
        scores = scores.masked_fill(self.banned, -torch.inf)
        if step < self.constraints.min_len:
            scores[..., stop] = -torch.inf
        if step >= self.constraints.max_len:
            forced = torch.full_like(scores, -torch.inf)
            forced[..., stop] = scores[..., stop]
            return forced
        return scores


@dataclass(frozen=True)
class Step:
    """What a step drew and found, for comparing with the package's own numbers."""

    ids: Rows
    texts: list[str]
    answers: list[str]
    log_p_answer: Tensor
    log_p_question: Tensor
    log_pf: Tensor
    log_contradiction: Tensor
    loss: float


class Straightforward:
    """Sampler with LoRA, a second copy as oracle, a judge, AdamW."""

    def __init__(self, config: Config) -> None:
        folder = resolve_model(config.model.name, "sampler")
        dtype, self.device = getattr(torch, config.model.dtype), build.device_of(config)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        base, oracle = (AutoModelForCausalLM.from_pretrained(folder, dtype=dtype) for _ in range(2))
        lora, targets = config.model.lora, config.model.lora.target_modules
        named: Any = "all-linear" if targets == ["all-linear"] else targets
        adapter = LoraConfig(
            r=lora.r, lora_alpha=lora.alpha, target_modules=named, task_type="CAUSAL_LM"
        )
        self.sampler: Any = get_peft_model(base.to(self.device), adapter).eval()
        self.oracle: Any = oracle.to(self.device).eval().requires_grad_(False)
        self.judge = build.load_judge(config)
        self.reward, self.objective = build.build_reward(config), build.build_objective(config)
        self.task, self.ask = task_prompt(config.prompt.task), answer_prompt(config.prompt.answer)
        self.n_samples, self.max_answer_tokens = (
            config.exploration.n_samples,
            config.oracle.max_answer_tokens,
        )
        limits = config.policy
        vocabulary: Any = limits.vocabulary
        self.constraints = question_constraints(
            self.tokenizer,
            vocabulary=vocabulary,
            min_len=limits.min_question_len,
            max_len=limits.max_question_len,
            device=self.device,
        )
        pieces = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        line_ends = {i for i, piece in enumerate(pieces) if "\n" in piece}
        specials = {self.tokenizer.eos_token_id, self.tokenizer.bos_token_id} - {None}
        self.ends = sorted(line_ends | specials)
        self.optimizer = torch.optim.AdamW(
            [p for p in self.sampler.parameters() if p.requires_grad], lr=config.optimizer.lr
        )

    def step(self, facts: Sequence[Fact], number: int, clock: Clock) -> list[Step]:
        """One optimizer step on some facts."""
        done = [self._on_one_fact(fact, number, len(facts), clock) for fact in facts]
        with clock.phase("learn"):
            self.optimizer.step()
            self.optimizer.zero_grad()
        return done

    def _on_one_fact(self, fact: Fact, number: int, n_facts: int, clock: Clock) -> Step:
        prompt = self.tokenizer.encode(
            self.task.header + self.task.body(subject=fact.subject, edit_fact=fact.edit_fact),
            add_special_tokens=False,
        )
        with clock.phase("sample"):
            ids = self._questions(prompt)
        texts = [self.tokenizer.decode(row).strip() + "?" for row in ids]
        asked = [self.ask.header + self.ask.body(question=text) for text in texts]
        with clock.phase("answer"):
            prompts, told = self._answers(asked)
            answers = [self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in told]
            log_p_answer = self._log_likelihood(self.oracle, prompts, told, None)
        with clock.phase("judge"):
            log_c = self._judged([fact.edit_fact] * len(answers), answers, 0)
            log_e = self._judged([fact.original_fact] * len(answers), answers, 1)
        stopped = [[*row, self.constraints.stop_id] for row in ids]
        with clock.phase("prior"), torch.no_grad():
            log_p_question = self._log_likelihood(
                self.oracle, [prompt] * len(ids), stopped, self.constraints
            )
        with clock.phase("learn"):
            sound = [
                question_ok(t, fact.subject, fact.original_answer, fact.edited_answer, fact.aliases)
                for t in texts
            ]
            parts = RewardParts(log_c, log_p_question, log_p_answer, log_e, torch.tensor(sound))
            log_reward = self.reward(parts, number).log_reward
            log_pf = self._log_likelihood(
                self.sampler, [prompt] * len(ids), stopped, self.constraints
            )
            ratio = log_reward - log_pf
            loss = (ratio - ratio.mean()).square().mean()
            (loss / n_facts).backward()
        return Step(
            ids, texts, answers, log_p_answer, log_p_question, log_pf.detach(), log_c, loss.item()
        )

    @torch.no_grad()
    def _questions(self, prompt: list[int]) -> Rows:
        inputs = torch.tensor([prompt] * self.n_samples, device=self.device)
        rules = Environment(self.constraints, self._vocab(), len(prompt))
        out = self.sampler.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
            repetition_penalty=1.0,
            max_new_tokens=self.constraints.max_len + 1,
            eos_token_id=self.constraints.stop_id,
            pad_token_id=self.constraints.stop_id,
            logits_processor=LogitsProcessorList([rules]),
        )
        rows: Rows = out[:, len(prompt) :].tolist()
        return [row[: row.index(self.constraints.stop_id)] for row in rows]

    @torch.no_grad()
    def _answers(self, asked: list[str]) -> tuple[Rows, Rows]:
        inputs = self.tokenizer(asked, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = inputs.to(self.device)
        out = self.oracle.generate(
            **inputs,
            do_sample=False,
            repetition_penalty=1.0,
            max_new_tokens=self.max_answer_tokens,
            eos_token_id=self.ends,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        width = inputs["input_ids"].shape[1]
        prompts = [self.tokenizer.encode(text, add_special_tokens=False) for text in asked]
        return prompts, [self._until_end(row) for row in out[:, width:].tolist()]

    def _until_end(self, row: list[int]) -> list[int]:
        at = next((i for i, token in enumerate(row) if token in self.ends), len(row) - 1)
        return row[: at + 1]

    def _judged(self, premises: list[str], answers: list[str], label: int) -> Tensor:
        scores = [self.judge.score([p], [a]) for p, a in zip(premises, answers, strict=True)]
        return torch.cat([s.log_entailment if label else s.log_contradiction for s in scores])

    def _log_likelihood(
        self, model: Any, prompts: Rows, continuations: Rows, constraints: Constraints | None
    ) -> Tensor:
        """Σ log P of each continuation, from a pass over whole sequences."""
        rows = [p + c for p, c in zip(prompts, continuations, strict=True)]
        width = max(map(len, rows))
        padded = [row + [row[-1]] * (width - len(row)) for row in rows]
        mask = torch.tensor(
            [[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self.device
        )
        with torch.set_grad_enabled(model is self.sampler and torch.is_grad_enabled()):
            logits = model(
                input_ids=torch.tensor(padded, device=self.device), attention_mask=mask
            ).logits
        total = []
        for row, (prompt, continuation) in enumerate(zip(prompts, continuations, strict=True)):
            own = logits[row, len(prompt) - 1 : len(prompt) - 1 + len(continuation)].float()
            if constraints is not None:
                rules = Environment(constraints, self._vocab(), 0)
                own = torch.stack([rules.at(line, step) for step, line in enumerate(own)])
            chosen = torch.tensor(continuation, device=self.device)
            total.append(own.log_softmax(-1).gather(1, chosen[:, None]).sum())
        return torch.stack(total)

    def _vocab(self) -> int:
        return int(self.oracle.get_output_embeddings().weight.shape[0])
