"""The sampler: a LoRA adapter on a frozen causal language model, and one environment for both
directions.

``sample`` draws questions, ``evaluate`` scores given ones, differentiably; both go through the same constraints
and the same prompt reading. ``prior`` is ``evaluate`` with the adapter off: what the frozen base model says of
the same questions in the same environment, so at the start log P_F = log P_Q exactly.

Departures from a plain ``generate()``:
1. the prompt's constant header is read once per run, with the adapter off; it is part of the environment;
2. states form a tree, and each state is computed once: a fact's prompt for its n questions, "Who wrote" for all
   that begin so, and an equal question not again (`TokenTree` when scoring, rows that branch when drawing);
3. only the LM-head rows of allowed actions are multiplied;
4. finished questions leave the batch.
On a GPU drawing trades 2 and 4 for fixed shapes, which a CUDA graph needs (`models/static_decoding.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import peft
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding import Decoder
from contraflow.models.static_decoding import StaticSteps, start_decoding
from contraflow.models.token_tree import TokenTree
from contraflow.policy.constraints import Constraints
from contraflow.policy.flow import StateFlow
from contraflow.policy.read_out import read_out
from contraflow.settings.models import LoraConfig
from contraflow.text.prompts import PromptTemplate
from contraflow.types import PathLogProbs, Questions, as_mask

STATES_PER_READ = 128
ALL_LINEAR = "all-linear"


class LoraPolicy(nn.Module):
    """P_F(question | fact), its stop probabilities and its state flow."""

    def __init__(
        self,
        lm: CausalLM,
        prompt: PromptTemplate,
        constraints: Constraints,
        lora: LoraConfig | None,
    ) -> None:
        super().__init__()
        self.constraints = constraints
        self.prompt = prompt
        self.lm = lm
        for parameter in lm.model.parameters():
            parameter.requires_grad_(False)
        self._prefix = lm.prefix(prompt.header, prompt.opening)
        self._static = StaticSteps()
        if lora is not None:
            self.add_adapter(lora)
        self.flow = StateFlow(lm.hidden_size).to(lm.device)

    def add_adapter(self, lora: LoraConfig) -> None:
        """Put a fresh adapter (a no-op until trained) on the backbone."""
        targets: list[str] | str | None = lora.target_modules
        if targets == [ALL_LINEAR]:  # PEFT takes this word by itself, not as the name of a module
            targets = ALL_LINEAR
        config = peft.LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=0.0,  # dropout would make evaluate() another distribution than sample()
            target_modules=targets,
            task_type="CAUSAL_LM",
        )
        try:
            self.lm.adapter = peft.get_peft_model(self.lm.model, config)
        except ValueError as error:
            raise UserError(
                f"model.lora.target_modules={targets}: {str(error).splitlines()[0]}"
            ) from error
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
        context = self.lm.prefill(self._prefix, self.encode(facts))
        row = torch.arange(len(facts), device=self.lm.device).repeat_interleave(n_samples)
        c = self.constraints
        decoder = start_decoding(self.lm, context, len(row), c.max_len, self._static, c.action_ids)
        return self._draw(decoder, row, rng, temperature)

    def _draw(
        self, decoder: Decoder, row: Int[Tensor, " b"], rng: torch.Generator, temperature: float
    ) -> Questions:
        """Draw from the decoder's rows; ``row`` says where each question stands, several may stand
        together.
        """
        c = self.constraints
        b = len(row)
        ids = torch.zeros(b, c.max_len, dtype=torch.long, device=self.lm.device)
        lengths = torch.zeros(b, dtype=torch.long, device=self.lm.device)
        alive = torch.arange(b, device=self.lm.device)
        stop_column = len(c.action_ids) - 1
        for t in range(c.max_len):
            column = _categorical(c.mask_(decoder.logits(), t) / temperature, row, rng)
            going = column != stop_column
            alive, row, token = alive[going], row[going], c.action_ids[column[going]]
            if len(alive) == 0:
                break
            ids[alive, t] = token
            lengths[alive] = t + 1
            if t + 1 < c.max_len:
                row = decoder.advance(row, token)
        width = max(1, int(lengths.max()))
        return Questions(ids[:, :width], lengths)

    def evaluate(
        self, facts: Sequence[Fact], fact_index: Int[Tensor, " b"], questions: Questions
    ) -> PathLogProbs:
        """Log-probabilities and flows along given questions, differentiable; question i is about
        fact_index[i].
        """
        states = self._states(facts, fact_index, questions)
        taken = self.constraints.columns(questions.ids[questions.mask])
        log_taken, log_pterm = self._read_out(states, states.of[:, :-1][questions.mask], taken)
        on_path = as_mask(questions.lengths + 1, states.of.shape[1])
        log_pf = torch.zeros(questions.mask.shape, dtype=log_taken.dtype, device=log_taken.device)
        return PathLogProbs(
            log_pf=log_pf.masked_scatter(questions.mask, log_taken),
            log_pterm=log_pterm[states.of].masked_fill(~on_path, 0.0),
            log_flow=self.flow(states.hidden, states.step)[states.of].masked_fill(~on_path, 0.0),
            lengths=questions.lengths,
        )

    def _read_out(
        self, states: _States, at: Int[Tensor, " n"], taken: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        """log P of the action columns taken at the given states, and log P(stop) at every state.

        The vocabulary is met a few states at a time, and once more in the backward pass: whole, the
        logits of a step and their gradients would be most of the memory that learning takes.
        """
        order = at.argsort()
        cuts = torch.arange(0, len(states.step), STATES_PER_READ, device=at.device)
        ends = torch.searchsorted(at[order], cuts[1:], right=False).tolist()
        log_taken, log_pterm = [], []
        for start, rows in zip(cuts.tolist(), order.tensor_split(ends), strict=True):
            part = slice(start, start + STATES_PER_READ)
            some_taken, some_pterm = checkpoint(
                self._read_out_of,
                states.hidden[part],
                states.step[part],
                at[rows] - start,
                taken[rows],
                use_reentrant=False,
                preserve_rng_state=False,
            )
            log_taken.append(some_taken)
            log_pterm.append(some_pterm)
        return torch.cat(log_taken)[order.argsort()], torch.cat(log_pterm)

    def _read_out_of(
        self, hidden: Float[Tensor, "m d"], step: Tensor, at: Tensor, taken: Tensor
    ) -> tuple[Tensor, Tensor]:
        return read_out(
            self.lm.logits(hidden, self.constraints.action_ids), self.constraints, step, at, taken
        )

    @torch.no_grad()
    def prior(
        self, facts: Sequence[Fact], fact_index: Int[Tensor, " b"], questions: Questions
    ) -> PathLogProbs:
        """The frozen base model's view of the same questions in the same environment."""
        with self.lm.frozen():
            return self.evaluate(facts, fact_index, questions)

    def _states(self, facts: Sequence[Fact], fact_index: Tensor, questions: Questions) -> _States:
        """Read the tree of these questions: every state of it once, whichever questions pass
        through.
        """
        prompts = self.encode(facts)
        rows = zip(
            fact_index.tolist(), questions.ids.tolist(), questions.lengths.tolist(), strict=True
        )
        owners, tree = fact_index.tolist(), [prompts[f] + ids[:n] for f, ids, n in rows]
        packed = TokenTree.of(tree, self.lm.device)
        start = torch.tensor(
            [len(prompts[f]) - 1 for f in owners], device=self.lm.device
        )  # s_0: prompt read
        along = torch.arange(questions.ids.shape[1] + 1, device=self.lm.device)
        along = torch.minimum(along[None, :], questions.lengths[:, None])  # past the end: s_L again
        nodes, of = packed.paths.gather(1, start[:, None] + along).unique(return_inverse=True)
        step = torch.zeros_like(nodes).index_put((of,), along)
        return _States(self.lm.tree_hidden(self._prefix, packed)[nodes], step, of)

    def question_text(self, ids: Sequence[int]) -> str:
        """Decode a question's token ids and restore the question mark, which the stop stands for."""
        return self.lm.decode(ids).strip() + "?"

    def token_rows(self, questions: Questions) -> list[tuple[int, ...]]:
        """The token ids of each question, without padding."""
        rows = zip(questions.ids.tolist(), questions.lengths.tolist(), strict=True)
        return [tuple(ids[:n]) for ids, n in rows]

    def texts(self, questions: Questions) -> list[str]:
        """The text of each question."""
        return [self.question_text(ids) for ids in self.token_rows(questions)]


@dataclass(frozen=True)
class _States:
    """m different states, and which of them each question passes through."""

    hidden: Float[Tensor, "m d"]
    step: Int[Tensor, " m"]  # question tokens written so far
    of: Int[Tensor, "b t+1"]


def _categorical(
    logits: Float[Tensor, "r a"], row: Int[Tensor, " n"], rng: torch.Generator
) -> Int[Tensor, " n"]:
    """One action for each question from the distribution of the row that it stands at."""
    # Inverse of the cumulative distribution, one uniform per question: at this width far quicker
    # than one noise per column. `right` skips actions of mass 0, but for the last one: a parallel
    # sum may round it above its neighbor, and a stop that is no action would be drawn. Rounding
    # then gets the likeliest action instead.
    p = logits.softmax(-1)
    total = p.cumsum(-1)
    u = torch.rand(len(row), 1, generator=rng, device=logits.device) * total[row, -1:]
    column = (
        torch.searchsorted(total[row], u, right=True).squeeze(1).clamp(max=logits.shape[-1] - 1)
    )
    return torch.where(p[row, column] > 0, column, p.argmax(-1)[row])


def fact_index_of(
    facts: Sequence[Fact], fact_ids: Iterable[str], device: torch.device | str
) -> Int[Tensor, " b"]:
    """Return for each fact id the position of its fact in ``facts``."""
    position = {fact.fact_id: i for i, fact in enumerate(facts)}
    return torch.tensor([position[fact_id] for fact_id in fact_ids], device=device)


def stack_questions(rows: Sequence[Sequence[int]], device: torch.device | str) -> Questions:
    """Right-pad token id lists into Questions."""
    width = max(1, *map(len, rows))
    ids = torch.tensor([list(r) + [0] * (width - len(r)) for r in rows], device=device)
    return Questions(ids, torch.tensor([len(r) for r in rows], device=device))
