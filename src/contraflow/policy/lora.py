"""The sampler: a LoRA adapter on a frozen causal language model, and one environment for both directions.

``sample`` draws questions, ``evaluate`` scores given ones, differentiably; both go through the same constraints
and the same prompt reading. ``prior`` is ``evaluate`` with the adapter off: what the frozen base model says of
the same questions in the same environment, so at the start log P_F = log P_Q exactly.

Departures from a plain ``generate()``:
1. the prompt's constant header is read once per run, with the adapter off; it is part of the environment;
2. the rest of a fact's prompt is read once per fact and shared by its n questions;
3. only the LM-head rows of allowed actions are multiplied;
4. finished questions leave the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM, Context
from contraflow.policy.constraints import Constraints
from contraflow.policy.flow import FlowHead
from contraflow.prompts import PromptTemplate
from contraflow.types import PathLogProbs, Questions


@dataclass(frozen=True)
class LoraSettings:
    """Size and place of the adapter; ``target_modules`` None means PEFT's default for the architecture."""

    r: int = 16
    alpha: int = 32
    target_modules: tuple[str, ...] | None = None


class LoraPolicy(nn.Module):
    """P_F(question | fact), its stop probabilities and its state flow."""

    def __init__(
        self, lm: CausalLM, prompt: PromptTemplate, constraints: Constraints, lora: LoraSettings | None
    ) -> None:
        super().__init__()
        self.constraints = constraints
        self.prompt = prompt
        self.lm = lm
        for parameter in lm.model.parameters():
            parameter.requires_grad_(False)
        self._prefix = lm.prefix(prompt.header)
        if lora is not None:
            self.add_adapter(lora)
        self.flow = FlowHead(lm.hidden_size).to(lm.device)

    def add_adapter(self, lora: LoraSettings) -> None:
        """Put a fresh adapter (a no-op until trained) on the backbone."""
        targets = None if lora.target_modules is None else list(lora.target_modules)
        config = LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=0.0,  # dropout would make evaluate() another distribution than sample()
            target_modules=targets,
            task_type="CAUSAL_LM",
        )
        try:
            self.lm.adapter = get_peft_model(self.lm.model, config)
        except ValueError as error:
            raise UserError(f"model.lora.target_modules={targets}: {str(error).splitlines()[0]}") from error
        self.lm.adapter.eval()

    @property
    def is_trained(self) -> bool:
        """Whether there is an adapter; without one the policy is its own prior."""
        return self.lm.adapter is not None

    def encode(self, facts: Sequence[Fact]) -> list[list[int]]:
        """Token ids of each fact's prompt after the shared header.

        Raises: UserError when a prompt leaves no room for the longest question.
        """
        room = self.lm.max_positions - self._prefix.length - self.constraints.max_len - 1
        bodies = [self.lm.encode(self._body(fact), first=not self._prefix.length) for fact in facts]
        for fact, ids in zip(facts, bodies, strict=True):
            if len(ids) > room:
                raise UserError(
                    f"fact {fact.fact_id}: its prompt has {len(ids)} tokens after the header, but the model has "
                    f"room for {room}; shorten the subject {fact.subject[:40]!r}… or the prompt"
                )
        return bodies

    def _body(self, fact: Fact) -> str:
        return self.prompt.body(subject=fact.subject, edit_fact=fact.edit_fact)

    @torch.no_grad()
    def sample(
        self, facts: Sequence[Fact], n_samples: int, rng: torch.Generator, temperature: float = 1.0
    ) -> Questions:
        """n questions per fact, rows of one fact adjacent; tokens drawn at the given temperature."""
        context = self.lm.read(self._prefix, self.encode(facts))
        index = torch.arange(len(facts), device=self.lm.device).repeat_interleave(n_samples)
        return self._draw(context.for_decoding(index, self.constraints.max_len), rng, temperature)

    def _draw(self, context: Context, rng: torch.Generator, temperature: float) -> Questions:
        c = self.constraints
        b = len(context.mask)
        ids = torch.zeros(b, c.max_len, dtype=torch.long, device=self.lm.device)
        lengths = torch.zeros(b, dtype=torch.long, device=self.lm.device)
        alive = torch.arange(b, device=self.lm.device)
        stop_column = len(c.action_ids) - 1
        for t in range(c.max_len):
            logits = c.mask_(self.lm.logits(context.last_hidden, c.action_ids), t)
            column = _categorical(logits / temperature, rng)
            going = column != stop_column
            if not bool(going.all()):
                context.keep(going.nonzero().squeeze(1))
                alive, column = alive[going], column[going]
            if len(alive) == 0:
                break
            token = c.action_ids[column]
            ids[alive, t] = token
            lengths[alive] = t + 1
            if t + 1 < c.max_len:
                context.last_hidden = self.lm.hidden(token[:, None], context)[:, -1]
        width = max(1, int(lengths.max()))
        return Questions(ids[:, :width], lengths)

    def evaluate(
        self, facts: Sequence[Fact], fact_index: Int[Tensor, " b"], questions: Questions
    ) -> PathLogProbs:
        """Log-probabilities and flows along given questions, differentiable; question i is about fact_index[i]."""
        hidden = self._hidden_along(facts, fact_index, questions)
        c, t = self.constraints, questions.ids.shape[1]
        steps = torch.arange(t + 1, device=hidden.device)
        states = steps[None, :] <= questions.lengths[:, None]  # s_0 … s_L of each path
        packed = hidden[states]  # padding never meets the vocabulary
        logits, at = self.lm.logits(packed, c.action_ids), steps.expand_as(states)[states]
        log_z = c.log_normaliser(logits, at)
        taken = self._columns_taken(questions, states)
        log_pf = logits.gather(1, taken[:, None]).squeeze(1) - log_z
        at_end = (steps[None, :] == questions.lengths[:, None])[states]
        return PathLogProbs(
            log_pf=_unpack(log_pf.masked_fill(at_end, 0.0), states)[:, :-1],
            log_pterm=_unpack(c.log_pterm(logits, log_z, at), states),
            log_flow=_unpack(self.flow(packed), states),
            lengths=questions.lengths,
        )

    @torch.no_grad()
    def prior(
        self, facts: Sequence[Fact], fact_index: Int[Tensor, " b"], questions: Questions
    ) -> PathLogProbs:
        """The frozen base model's view of the same questions in the same environment."""
        with self.lm.frozen():
            return self.evaluate(facts, fact_index, questions)

    def _hidden_along(
        self, facts: Sequence[Fact], fact_index: Tensor, questions: Questions
    ) -> Float[Tensor, "b t+1 d"]:
        context = self.lm.read(self._prefix, self.encode(facts)).repeat(fact_index)
        # Padding stands on the right of a causal model: what it attends to is never read.
        hidden = self.lm.hidden(questions.ids, context)
        return torch.cat([context.last_hidden[:, None], hidden], 1)

    def _columns_taken(self, questions: Questions, states: Tensor) -> Int[Tensor, " n"]:
        """The action column taken at each packed state; at s_L the stop."""
        stop = self.constraints.action_ids[-1]
        ids = torch.where(questions.mask, questions.ids, stop)
        ids = torch.cat([ids, stop.expand(len(ids), 1)], 1)
        return self.constraints.columns(ids[states])

    def texts(self, questions: Questions) -> list[str]:
        """The questions as a reader sees them, the question mark restored."""
        rows = [ids[:n] for ids, n in zip(questions.ids.tolist(), questions.lengths.tolist(), strict=True)]
        return [self.lm.decode(row).strip() + "?" for row in rows]


def _categorical(logits: Float[Tensor, "n a"], rng: torch.Generator) -> Int[Tensor, " n"]:
    # Inverse of the cumulative distribution, one uniform per row: at this width far quicker than one noise per
    # column. `right` skips actions of mass 0, but for the last one: a parallel sum may round it above its neighbour,
    # and a stop that is no action would be drawn. Rounding then gets the likeliest action instead.
    p = logits.softmax(-1)
    total = p.cumsum(-1)
    u = torch.rand(len(logits), 1, generator=rng, device=logits.device) * total[:, -1:]
    column = torch.searchsorted(total, u, right=True).clamp(max=logits.shape[-1] - 1)
    return torch.where(p.gather(1, column) > 0, column, p.argmax(-1, keepdim=True)).squeeze(1)


def _unpack(values: Float[Tensor, " n"], states: Tensor) -> Tensor:
    """Packed values back on their [b t+1] grid, 0 elsewhere; differentiable."""
    return torch.zeros(states.shape, dtype=values.dtype, device=values.device).masked_scatter(states, values)


def stack_questions(rows: Sequence[Sequence[int]], device: torch.device) -> Questions:
    """Right-pad token id lists into Questions."""
    width = max(1, *map(len, rows))
    ids = torch.tensor([list(r) + [0] * (width - len(r)) for r in rows], device=device)
    return Questions(ids, torch.tensor([len(r) for r in rows], device=device))
