"""The pipeline that one writes first, which the benchmarks compare the package with: plain
`generate()` and plain forward passes over whole sequences.

Two copies of the model, one with the adapter and one as oracle; the whole prompt, few-shot header
included, for every question and every use; questions padded to the longest and kept to the end;
logits of the whole vocabulary at every position, computed again wherever a likelihood is needed;
one judge call per pair. Sampler, reward and loss are the package's: the same constraints, the same
objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessor, LogitsProcessorList

from contraflow.facts import Fact
from contraflow.gflownet.objectives import Objective, potentials
from contraflow.policy.constraints import Constraints
from contraflow.reward.judge import Judge
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.types import PathLogProbs, TerminalReward

Rows = list[list[int]]
SAMPLING = {
    "do_sample": True,
    "top_k": 0,
    "top_p": 1.0,
    "temperature": 1.0,
    "repetition_penalty": 1.0,
}
GREEDY = {"do_sample": False, "repetition_penalty": 1.0}


@dataclass(frozen=True)
class Rules:
    """What may be written, and in how many passes a question is scored."""

    questions: dict[str, Any]  # arguments of generate(): lengths and special tokens
    answers: dict[str, Any]  # the same for answers
    stop: int  # the token that ends a question
    ends: Sequence[int] = ()  # tokens that end an answer; none where all have the same length
    constraints: Constraints | None = None  # allowed tokens of a question; None allows all
    pass_for_stops: bool = False  # a second pass for log P(stop) at every state


class ConstraintProcessor(LogitsProcessor):
    """The package's constraints, as `generate()` takes them."""

    def __init__(self, constraints: Constraints, n_vocabulary: int, prompt_len: int = 0) -> None:
        self.constraints = constraints
        self.prompt_len = prompt_len
        device = constraints.action_ids.device
        self.forbidden = torch.ones(n_vocabulary, dtype=torch.bool, device=device)
        self.forbidden[constraints.action_ids] = False

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        return self.at(logits, ids.shape[1] - self.prompt_len)

    def at(self, logits: Tensor, step: int) -> Tensor:
        """Logits with minus infinity at tokens that are not allowed after ``step`` tokens."""
        stop = self.constraints.stop_id
        logits = logits.masked_fill(self.forbidden, -torch.inf)
        if step < self.constraints.min_len:
            logits[..., stop] = -torch.inf
        if step >= self.constraints.max_len:
            only_stop = torch.full_like(logits, -torch.inf)
            only_stop[..., stop] = logits[..., stop]
            return only_stop
        return logits


class Straightforward:
    """The five phases of a step, one method each, over two copies of a model."""

    def __init__(
        self,
        sampler: Any,
        oracle: Any,
        tokenizer: Any,
        judge: Judge,
        prompts: tuple[str, str],
        rules: Rules,
        *,
        lr: float,
    ) -> None:
        self.sampler = sampler
        self.oracle = oracle.requires_grad_(False)
        self.tokenizer = tokenizer
        self.judge_model = judge
        self.task = task_prompt(prompts[0])
        self.ask = answer_prompt(prompts[1])
        self.rules = rules
        self.device = oracle.device
        trained = [p for p in sampler.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=lr)

    def task_prompts(self, facts: Sequence[Fact], n: int) -> list[str]:
        """The sampler's prompt of each fact, ``n`` times."""
        texts = []
        for fact in facts:
            body = self.task.body(subject=fact.subject, edit_fact=fact.edit_fact)
            texts += [self.task.header + body] * n
        return texts

    def answer_prompts(self, questions: Sequence[str]) -> list[str]:
        """The oracle's prompt of each question."""
        return [self.ask.header + self.ask.body(question=question) for question in questions]

    @torch.no_grad()
    def sample(self, prompts: Sequence[str]) -> Rows:
        """The tokens of one question after each prompt, without the stop."""
        inputs = self._padded(prompts)
        prompt_len = inputs["input_ids"].shape[1]
        processors = LogitsProcessorList()
        if self.rules.constraints is not None:
            processors.append(
                ConstraintProcessor(self.rules.constraints, self._n_vocabulary(), prompt_len)
            )
        out = self.sampler.generate(
            **inputs, **SAMPLING, **self.rules.questions, logits_processor=processors
        )
        rows: Rows = out[:, prompt_len:].tolist()
        if self.rules.constraints is None:
            return rows
        return [row[: row.index(self.rules.stop)] for row in rows]

    def question_texts(self, questions: Rows) -> list[str]:
        return [text.strip() + "?" for text in self.tokenizer.batch_decode(questions)]

    @torch.no_grad()
    def answer(self, prompts: Sequence[str]) -> Rows:
        """The tokens of the oracle's greedy answer after each prompt, the end included."""
        inputs = self._padded(prompts)
        out = self.oracle.generate(**inputs, **GREEDY, **self.rules.answers)
        return [self._until_end(row) for row in out[:, inputs["input_ids"].shape[1] :].tolist()]

    def answer_texts(self, answers: Rows) -> list[str]:
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [text.strip() for text in texts]

    @torch.no_grad()
    def log_p_answer(self, prompts: Sequence[str], answers: Rows) -> Float[Tensor, " b"]:
        """log P of each answer, from a pass over prompt and answer."""
        log_p = self._logits(self.oracle, prompts, answers).log_softmax(-1)
        return _gathered(log_p, answers).sum(1)

    def judge(
        self, facts: Sequence[Fact], answers: Sequence[str]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """log C of each fact's edited statement and log E of its original one, by the answer."""
        log_c = []
        log_e = []
        for fact, answer in zip(facts, answers, strict=True):
            log_c.append(self.judge_model.score([fact.edit_fact], [answer]).log_contradiction)
            log_e.append(self.judge_model.score([fact.original_fact], [answer]).log_entailment)
        return torch.cat(log_c).to(self.device), torch.cat(log_e).to(self.device)

    def judge_at_once(
        self, facts: Sequence[Fact], answers: Sequence[str]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """`judge`, with one call for each kind of statement."""
        edited = self.judge_model.score([f.edit_fact for f in facts], answers)
        original = self.judge_model.score([f.original_fact for f in facts], answers)
        log_c = edited.log_contradiction.to(self.device)
        return log_c, original.log_entailment.to(self.device)

    @torch.no_grad()
    def prior(self, prompts: Sequence[str], questions: Rows) -> PathLogProbs:
        """The oracle's log-probabilities along each question."""
        return self._paths(self.oracle, prompts, questions)

    def learn(
        self,
        prompts: Sequence[str],
        questions: Rows,
        log_reward: Float[Tensor, " b"],
        objective: Objective,
        n_facts: int,
        *,
        weight: float = 1.0,
    ) -> tuple[PathLogProbs, float]:
        """Add ``weight`` times the gradient of the loss; return the sampler's paths and the loss.

        The questions are those of ``n_facts`` facts, equally many of each.
        """
        paths = self._paths(self.sampler, prompts, questions)
        index = torch.arange(n_facts, device=self.device)
        index = index.repeat_interleave(len(questions) // n_facts)
        loss = objective(potentials(paths, TerminalReward(log_reward)), index)
        (weight * loss).backward()
        return paths, loss.item()

    def update(self) -> None:
        """Take a step of the optimizer along the gradients added so far."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    def weight_bytes(self) -> int:
        """Bytes of both copies of the model."""
        models = (self.oracle, self.sampler)
        return sum(p.numel() * p.element_size() for m in models for p in m.parameters())

    def _paths(self, model: Any, prompts: Sequence[str], questions: Rows) -> PathLogProbs:
        """Log-probabilities along each question; entries beyond its length are 0."""
        closed = [[*row, self.rules.stop] for row in questions]
        log_p = self._question_log_probs(model, prompts, closed)
        taken = _gathered(log_p, closed)
        if self.rules.pass_for_stops:
            log_p = self._question_log_probs(model, prompts, closed)
        lengths = torch.tensor([len(row) for row in questions], device=self.device)
        step = torch.arange(log_p.shape[1], device=self.device)
        log_pf = taken.masked_fill(step >= lengths[:, None], 0.0)[:, :-1]
        log_pterm = log_p[..., self.rules.stop].masked_fill(step > lengths[:, None], 0.0)
        return PathLogProbs(log_pf, log_pterm, torch.zeros_like(log_pterm), lengths)

    def _question_log_probs(
        self, model: Any, prompts: Sequence[str], closed: Rows
    ) -> Float[Tensor, "b t v"]:
        """log P of every token at every state of each question, constraints applied."""
        logits = self._logits(model, prompts, closed)
        if self.rules.constraints is not None:
            rules = ConstraintProcessor(self.rules.constraints, logits.shape[-1])
            by_step = [rules.at(logits[:, step], step) for step in range(logits.shape[1])]
            logits = torch.stack(by_step, 1)
        return logits.log_softmax(-1)

    def _logits(
        self, model: Any, prompts: Sequence[str], continuations: Rows
    ) -> Float[Tensor, "b t v"]:
        """The logits that each token of each continuation is chosen from, in float32.

        One pass over prompts and continuations, padded on the right; t is the longest
        continuation's length, entries beyond a shorter one's are arbitrary.
        """
        prompt_ids = self.tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
        rows = []
        for prompt, continuation in zip(prompt_ids, continuations, strict=True):
            rows.append(torch.tensor(prompt + continuation))
        ids = pad_sequence(rows, batch_first=True).to(self.device)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        logits = model(input_ids=ids, attention_mask=mask.to(self.device)).logits
        before = torch.tensor([len(prompt) - 1 for prompt in prompt_ids], device=self.device)
        step = torch.arange(max(map(len, continuations)), device=self.device)
        at = (before[:, None] + step).clamp(max=ids.shape[1] - 1)
        chosen: Tensor = logits[torch.arange(len(rows), device=self.device)[:, None], at]
        return chosen.float()

    def _padded(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids and mask of some prompts, padded on the left."""
        inputs = self.tokenizer(
            list(texts), padding=True, add_special_tokens=False, return_tensors="pt"
        ).to(self.device)
        return {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}

    def _until_end(self, row: list[int]) -> list[int]:
        for i, token in enumerate(row):
            if token in self.rules.ends:
                return row[: i + 1]
        return row

    def _n_vocabulary(self) -> int:
        return int(self.oracle.get_output_embeddings().weight.shape[0])


def _gathered(log_p: Float[Tensor, "b t v"], tokens: Rows) -> Float[Tensor, "b t"]:
    """The entries of these tokens; 0 beyond the end of a row."""
    rows = [torch.tensor(row, device=log_p.device) for row in tokens]
    ids = pad_sequence(rows, batch_first=True, padding_value=-1)
    taken = log_p.gather(2, ids.clamp(min=0)[..., None]).squeeze(2)
    return taken.masked_fill(ids < 0, 0.0)
