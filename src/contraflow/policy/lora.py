"""The sampler: a LoRA adapter on a frozen causal language model.

``sample`` generates questions; ``evaluate`` computes the log-probabilities of given questions,
differentiably. Both use the same constraints and the same prompt encoding. ``prior`` is
``evaluate`` with the adapter off: the log-probabilities of the frozen base model in the same
environment, so log P_F = log P_Q exactly before training.

Departures from a plain ``generate()``:
1. The constant header of the prompt is read once per run, with the adapter off; it is part of the
   environment.
2. States form a tree, and each state is computed once: a fact's prompt for its n questions, "Who
   wrote" for all questions that begin with it, and equal questions once (`TokenTree` in
   ``evaluate``, rows that branch in ``sample``).
3. Only the rows of the LM head that belong to allowed actions are multiplied.
4. Finished questions leave the batch.

On a GPU, sampling gives up 2 and 4 for the fixed shapes that a CUDA graph requires
(`models/static_decoding.py`).
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
from contraflow.policy.action_log_probs import action_log_probs
from contraflow.policy.constraints import Constraints
from contraflow.policy.flow import StateFlow
from contraflow.settings.models import LoraConfig
from contraflow.text.prompts import PromptTemplate
from contraflow.types import PathLogProbs, Questions, as_mask

CHUNK_STATES = 128  # states whose logits exist at a time in `evaluate`
ALL_LINEAR = "all-linear"


class LoraPolicy(nn.Module):
    """P_F(question | fact) with its stop probabilities and its state flow.

    Without ``lora`` there is no adapter, and the policy is its own prior.

    Raises: UserError when the adapter's target modules do not exist or the prompt's header fills
        all positions of the model.
    """

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
        self._prefix = lm.prefix_cache(prompt.header, prompt.opening)
        self._static_steps = StaticSteps()
        self._frozen_steps = StaticSteps()  # recorded with the adapter off
        if lora is not None:
            self.add_adapter(lora)
        self.flow = StateFlow(lm.hidden_size).to(lm.device)

    def add_adapter(self, lora: LoraConfig) -> None:
        """Add an untrained adapter to the backbone; it does not change the outputs yet.

        Raises: UserError when a target module does not exist.
        """
        targets: list[str] | str | None = lora.target_modules
        # PEFT accepts this keyword as a string only; in a list it would name a module.
        if targets == [ALL_LINEAR]:
            targets = ALL_LINEAR
        config = peft.LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=0.0,  # with dropout, evaluate() and sample() would differ
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
    def has_adapter(self) -> bool:
        """Whether there is an adapter; without one the policy is its own prior."""
        return self.lm.adapter is not None

    def encode(self, facts: Sequence[Fact]) -> list[list[int]]:
        """Return the token ids of each fact's prompt after the shared header.

        Raises: UserError when a prompt leaves no room for the longest question.
        """
        room = self.lm.max_positions - self._prefix.length - self.constraints.max_len - 1
        bodies = [self.lm.encode(self._body(fact), first=not self._prefix.length) for fact in facts]
        for fact, ids in zip(facts, bodies, strict=True):
            if len(ids) > room:
                raise UserError(
                    f"fact {fact.fact_id}: its prompt has {len(ids)} tokens after the header, but "
                    f"the model has room for {room}; shorten the subject {fact.subject[:40]!r}… "
                    "or the prompt"
                )
        return bodies

    def _body(self, fact: Fact) -> str:
        return self.prompt.body(subject=fact.subject, edit_fact=fact.edit_fact)

    @torch.no_grad()
    def sample(
        self, facts: Sequence[Fact], n_samples: int, rng: torch.Generator, temperature: float = 1.0
    ) -> Questions:
        """Sample ``n_samples`` questions per fact at the given temperature.

        The rows of a fact are adjacent, in the order of the facts. Logits are divided by the
        temperature after masking.
        """
        row = torch.arange(len(facts), device=self.lm.device).repeat_interleave(n_samples)
        decoder = self.decoder(facts, len(row))
        return self._decode(decoder, row, rng, temperature)

    def decoder(self, facts: Sequence[Fact], n_texts: int, *, frozen: bool = False) -> Decoder:
        """Read the prompts of facts and return a decoder of up to ``n_texts`` questions.

        Fact i is in row i. ``frozen`` says that the caller is inside `lm.frozen()`, and must be
        also whenever it advances the decoder: recorded steps are bound to their adapter.

        Raises: UserError when a prompt is too long.
        """
        return start_decoding(
            self.lm,
            self.lm.prefill(self._prefix, self.encode(facts)),
            n_texts,
            self.constraints.max_len,
            self._frozen_steps if frozen else self._static_steps,
            self.constraints.action_ids,
        )

    def _decode(
        self, decoder: Decoder, row: Int[Tensor, " b"], rng: torch.Generator, temperature: float
    ) -> Questions:
        """Sample until every question has stopped; ``row`` is each question's row of the decoder.

        Several questions may share a row.
        """
        constraints = self.constraints
        b = len(row)
        ids = torch.zeros(b, constraints.max_len, dtype=torch.long, device=self.lm.device)
        lengths = torch.zeros(b, dtype=torch.long, device=self.lm.device)
        alive = torch.arange(b, device=self.lm.device)  # the unfinished questions
        stop_column = len(constraints.action_ids) - 1
        for t in range(constraints.max_len):
            logits = constraints.mask_(decoder.logits(), t) / temperature
            column = _categorical(logits, row, rng)
            unfinished = column != stop_column
            alive = alive[unfinished]
            row = row[unfinished]
            token = constraints.action_ids[column[unfinished]]
            if len(alive) == 0:
                break
            ids[alive, t] = token
            lengths[alive] = t + 1
            if t + 1 < constraints.max_len:
                row = decoder.advance(row, token)
        width = max(1, int(lengths.max()))
        return Questions(ids[:, :width], lengths)

    def evaluate(
        self,
        facts: Sequence[Fact],
        fact_index: Int[Tensor, " b"],
        questions: Questions,
        temperature: float = 1.0,
    ) -> PathLogProbs:
        """Return log-probabilities and flows along given questions, differentiable.

        Question i is about ``facts[fact_index[i]]``. The log-probabilities are those with which
        `sample` samples at ``temperature``.

        Raises: ValueError when a token is not an action; UserError when a prompt is too long.
        """
        states = self._states(facts, fact_index, questions)
        taken = self.constraints.columns(questions.ids[questions.mask])
        at = states.index[:, :-1][questions.mask]
        log_taken, log_pterm = self._action_log_probs(states, at, taken, temperature)
        on_path = as_mask(questions.lengths + 1, states.index.shape[1])
        log_pf = torch.zeros(questions.mask.shape, dtype=log_taken.dtype, device=log_taken.device)
        log_flow = self.flow(states.hidden, states.step)
        return PathLogProbs(
            log_pf=log_pf.masked_scatter(questions.mask, log_taken),
            log_pterm=log_pterm[states.index].masked_fill(~on_path, 0.0),
            log_flow=log_flow[states.index].masked_fill(~on_path, 0.0),
            lengths=questions.lengths,
        )

    def _action_log_probs(
        self,
        states: _States,
        at: Int[Tensor, " n"],
        taken: Int[Tensor, " n"],
        temperature: float,
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
        """log P of the action columns taken at the given states, and log P(stop) at every state.

        Logits are computed for a chunk of states at a time, and again in the backward pass. All at
        once, the logits and their gradients would be most of the memory of a training step.
        """
        order = at.argsort()
        chunk_starts = torch.arange(0, len(states.step), CHUNK_STATES, device=at.device)
        ends = torch.searchsorted(at[order], chunk_starts[1:], right=False).tolist()
        log_taken = []
        log_pterm = []
        for start, rows in zip(chunk_starts.tolist(), order.tensor_split(ends), strict=True):
            chunk = slice(start, start + CHUNK_STATES)
            chunk_taken, chunk_pterm = checkpoint(
                self._action_log_probs_of_chunk,
                states.hidden[chunk],
                states.step[chunk],
                at[rows] - start,
                taken[rows],
                temperature,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            log_taken.append(chunk_taken)
            log_pterm.append(chunk_pterm)
        return torch.cat(log_taken)[order.argsort()], torch.cat(log_pterm)

    def _action_log_probs_of_chunk(
        self,
        hidden: Float[Tensor, "m d"],
        step: Tensor,
        at: Tensor,
        taken: Tensor,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        logits = self.lm.logits(hidden, self.constraints.action_ids)
        if temperature != 1.0:
            logits = logits / temperature
        return action_log_probs(logits, self.constraints, step, at, taken)

    @torch.no_grad()
    def prior(
        self, facts: Sequence[Fact], fact_index: Int[Tensor, " b"], questions: Questions
    ) -> PathLogProbs:
        """`evaluate` by the frozen base model, in the same environment and without gradient."""
        with self.lm.frozen():
            return self.evaluate(facts, fact_index, questions)

    def _states(self, facts: Sequence[Fact], fact_index: Tensor, questions: Questions) -> _States:
        """Read the token tree of the questions; each distinct state is returned once."""
        prompts = self.encode(facts)
        owners = fact_index.tolist()
        rows = zip(owners, questions.ids.tolist(), questions.lengths.tolist(), strict=True)
        sequences = [prompts[owner] + ids[:length] for owner, ids, length in rows]
        tree = TokenTree.of(sequences, self.lm.device)
        # s_0 is the state after the last token of the prompt.
        start = torch.tensor([len(prompts[owner]) - 1 for owner in owners], device=self.lm.device)
        step = torch.arange(questions.ids.shape[1] + 1, device=self.lm.device)
        step = torch.minimum(step[None, :], questions.lengths[:, None])  # s_L repeats past the end
        path = tree.paths.gather(1, start[:, None] + step)
        nodes, index = path.unique(return_inverse=True)
        hidden = self.lm.tree_hidden(self._prefix, tree)[nodes]
        return _States(hidden, torch.zeros_like(nodes).index_put((index,), step), index)

    def release_graphs(self) -> None:
        """Free the CUDA graphs of sampling and their memory, before another policy is trained."""
        self._static_steps.release()
        self._frozen_steps.release()

    def question_text(self, ids: Sequence[int]) -> str:
        """Decode a question's token ids and append the question mark that the stop stands for."""
        return self.lm.decode(ids).strip() + "?"

    def token_rows(self, questions: Questions) -> list[tuple[int, ...]]:
        """Return the token ids of each question, without padding."""
        rows = zip(questions.ids.tolist(), questions.lengths.tolist(), strict=True)
        return [tuple(ids[:n]) for ids, n in rows]

    def texts(self, questions: Questions) -> list[str]:
        """Return the text of each question."""
        return [self.question_text(ids) for ids in self.token_rows(questions)]


@dataclass(frozen=True)
class _States:
    """m distinct states, and the states along each question's path."""

    hidden: Float[Tensor, "m d"]
    step: Int[Tensor, " m"]  # question tokens written so far
    index: Int[Tensor, "b t+1"]  # the state s_k of each question; s_L past the end


def _categorical(
    logits: Float[Tensor, "r a"], row: Int[Tensor, " n"], rng: torch.Generator
) -> Int[Tensor, " n"]:
    """Sample one action for each of n questions from the distribution of its row.

    Inverts the cumulative distribution with one uniform number per question: for this many columns
    that is far faster than one noise value per column.
    """
    p = logits.softmax(-1)
    total = p.cumsum(-1)
    u = torch.rand(len(row), 1, generator=rng, device=logits.device) * total[row, -1:]
    column = torch.searchsorted(total[row], u, right=True).squeeze(1)
    column = column.clamp(max=logits.shape[-1] - 1)
    # `right` skips actions of probability 0, except the last one: a parallel cumulative sum may
    # round it above its neighbor, and a masked stop would be sampled. Use the most likely action.
    return torch.where(p[row, column] > 0, column, p.argmax(-1)[row])


def fact_index_of(
    facts: Sequence[Fact], keys: Iterable[str], device: torch.device | str
) -> Int[Tensor, " b"]:
    """Return for each `Fact.key` the position of its fact in ``facts``. Raises: KeyError."""
    position = {fact.key: i for i, fact in enumerate(facts)}
    return torch.tensor([position[key] for key in keys], device=device)


def stack_questions(rows: Sequence[Sequence[int]], device: torch.device | str) -> Questions:
    """Pad token id lists on the right and stack them into Questions."""
    width = max(1, *map(len, rows))
    ids = torch.tensor([list(r) + [0] * (width - len(r)) for r in rows], device=device)
    return Questions(ids, torch.tensor([len(r) for r in rows], device=device))
