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
(`models/decoding/static_decoding.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import peft
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.models.causal_lm import CausalLM
from contraflow.models.decoding.decoder import Decoder
from contraflow.models.decoding.static_decoding import StaticSteps, start_decoding
from contraflow.models.decoding.writing import write
from contraflow.models.layers import trained_linear
from contraflow.models.layers.read_layers import ReadLayers
from contraflow.models.layers.tree_layers import TreeLayers
from contraflow.models.recorded.recorded_trees import RecordedTrees
from contraflow.models.transfer import packed_to_device, to_device
from contraflow.models.weights.adapters import quiet_peft
from contraflow.policy import draw
from contraflow.policy.action_log_probs import ActionHead, action_log_probs
from contraflow.policy.constraints import Constraints
from contraflow.policy.flow import StateFlow
from contraflow.policy.states import QuestionStates
from contraflow.policy.targets import ALL_LINEAR as ALL_LINEAR  # noqa: PLC0414 (also used from here)
from contraflow.settings.models import LoraConfig
from contraflow.text.prompts import PromptTemplate
from contraflow.types import PathLogProbs, Questions

MOST_PROMPTS = 4096  # whose token ids are kept


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
        self._known_ids: dict[str, list[int]] = {}
        self._tree_layers = TreeLayers(lm)
        self._read_layers = ReadLayers(lm)
        self._trees = RecordedTrees(lm)
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
            with quiet_peft():
                self.lm.adapter = peft.get_peft_model(self.lm.model, config)
        except ValueError as error:
            raise UserError(
                f"model.lora.target_modules={targets}: {str(error).splitlines()[0]}"
            ) from error
        self.lm.adapter.eval()
        trained_linear.install(self.lm.adapter)

    @property
    def has_adapter(self) -> bool:
        """Whether there is an adapter; without one the policy is its own prior."""
        return self.lm.adapter is not None

    def encode(self, facts: Sequence[Fact]) -> list[list[int]]:
        """Return the token ids of each fact's prompt after the shared header.

        Raises: UserError when a prompt leaves no room for the longest question.
        """
        room = self.lm.max_positions - self._prefix.length - self.constraints.max_len - 1
        bodies = [self._encoded(self._body(fact)) for fact in facts]
        for fact, ids in zip(facts, bodies, strict=True):
            if len(ids) > room:
                raise UserError(
                    f"fact {fact.fact_id}: its prompt has {len(ids)} tokens after the header, but "
                    f"the model has room for {room}; shorten the subject {fact.subject[:40]!r}…, "
                    f"the prompt or policy.max_question_len={self.constraints.max_len}"
                )
        return bodies

    def _encoded(self, text: str) -> list[int]:
        """Encode a text; a step needs each prompt three times."""
        if text not in self._known_ids:
            if len(self._known_ids) >= MOST_PROMPTS:
                self._known_ids.clear()
            self._known_ids[text] = self.lm.encode(text, first=not self._prefix.length)
        return self._known_ids[text]

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
        row = torch.arange(len(facts) * n_samples, device=self.lm.device) // n_samples
        with self._read_layers.active(self._prefix):
            context = self.lm.prefill(self._prefix, self.encode(facts), self._trees)
        request = draw.request(self.constraints, len(row), rng, temperature, self.lm.device)
        written = write(
            self.lm, context, row, request, self._static_steps, self.constraints.action_ids
        )
        width = max(1, int(written.lengths.max()))
        return Questions(written.ids[:, :width], written.lengths)

    def decoder(self, facts: Sequence[Fact], n_texts: int, *, frozen: bool = False) -> Decoder:
        """Read the prompts of facts and return a decoder of up to ``n_texts`` questions.

        Fact i is in row i. ``frozen`` says that the caller is inside `lm.frozen()`, and must be
        also whenever it advances the decoder: recorded steps are bound to their adapter.

        Raises: UserError when a prompt is too long.
        """
        with self._read_layers.active(self._prefix):
            context = self.lm.prefill(self._prefix, self.encode(facts), self._trees)
        return start_decoding(
            self.lm,
            context,
            n_texts,
            self.constraints.max_len,
            self._frozen_steps if frozen else self._static_steps,
            self.constraints.action_ids,
        )

    def evaluate(
        self,
        facts: Sequence[Fact],
        fact_index: Int[Tensor, " b"] | Sequence[int],
        questions: Questions,
        temperature: float = 1.0,
    ) -> PathLogProbs:
        """Return log-probabilities and flows along given questions, differentiable.

        Question i is about ``facts[fact_index[i]]``. The log-probabilities are those with which
        `sample` samples at ``temperature``. Questions and indices in host memory cost no wait for
        the device.

        Raises: ValueError when a token is not an action; UserError when a prompt is too long.
        """
        states = self._states(facts, fact_index, questions)
        with self._tree_layers.active(self._prefix):
            hidden = self._trees.hidden(self._prefix, states.tree).index_select(0, states.nodes)
        head = ActionHead.of(self.lm, self.constraints.action_ids, temperature)
        log_taken, log_pterm = action_log_probs(
            hidden, head, self.constraints, states.step, states.actions
        )
        log_flow = self.flow(hidden, states.step)
        # Entries beyond a question point one past the end, where a 0 is.
        of_states = functional.pad(torch.stack([log_pterm, log_flow]), (0, 1))[:, states.along]
        return PathLogProbs(
            log_pf=functional.pad(log_taken, (0, 1))[states.into],
            log_pterm=of_states[0],
            log_flow=of_states[1],
            lengths=states.lengths,
        )

    @torch.no_grad()
    def prior(
        self,
        facts: Sequence[Fact],
        fact_index: Int[Tensor, " b"] | Sequence[int],
        questions: Questions,
    ) -> PathLogProbs:
        """`evaluate` by the frozen base model, in the same environment and without gradient."""
        with self.lm.frozen():
            return self.evaluate(facts, fact_index, questions)

    def _states(
        self,
        facts: Sequence[Fact],
        fact_index: Int[Tensor, " b"] | Sequence[int],
        questions: Questions,
    ) -> QuestionStates:
        """Number the states of questions; each distinct state is there once."""
        prompts = self.encode(facts)
        owners = fact_index.tolist() if isinstance(fact_index, Tensor) else fact_index
        return QuestionStates.of(
            [prompts[owner] for owner in owners],
            self.token_rows(questions),
            questions.ids.shape[1],
            self.constraints,
            self.lm.device,
            multiple=self._trees.multiple,
        )

    def release_graphs(self) -> None:
        """Free the CUDA graphs and their memory, before another policy is trained."""
        self._trees.release()
        self._static_steps.release()
        self._frozen_steps.release()

    def question_text(self, ids: Sequence[int]) -> str:
        """Decode a question's token ids and append the question mark that the stop stands for."""
        return self.lm.decode(ids).strip() + "?"

    def token_rows(self, questions: Questions) -> list[tuple[int, ...]]:
        """Return the token ids of each question, without padding."""
        rows = torch.cat([questions.lengths[:, None], questions.ids], 1).tolist()
        return [tuple(ids[:n]) for n, *ids in rows]

    def texts(self, questions: Questions) -> list[str]:
        """Return the text of each question."""
        return [self.question_text(ids) for ids in self.token_rows(questions)]


def fact_index_of(
    facts: Sequence[Fact], keys: Iterable[str], device: torch.device | str
) -> Int[Tensor, " b"]:
    """Return for each `Fact.key` the position of its fact in ``facts``. Raises: KeyError."""
    position = {fact.key: i for i, fact in enumerate(facts)}
    return to_device(torch.tensor([position[key] for key in keys]), device)


def stack_questions(rows: Sequence[Sequence[int]], device: torch.device | str) -> Questions:
    """Pad token id lists on the right and stack them into Questions."""
    width = max(1, *map(len, rows))
    ids = np.zeros((len(rows), width), dtype=np.int64)
    for row, question in enumerate(rows):
        ids[row, : len(question)] = question
    lengths = np.array([len(question) for question in rows], dtype=np.int64)
    return Questions(*packed_to_device([ids, lengths], device))
