"""Train the sampler further against an edited model, one edit at a time: search for failures.

Some ten steps from the given adapter. Each step draws different questions, asks both models, and
moves P_F towards R / Z, with log R - log P_F balanced within the step's questions and the failures
that are known already (VarGrad; Richter et al. 2020). The rewards are

    log R = w · min(log P_Q, ceiling) + { 0                           the question fails
                                        { floor + E's share           sound, but no failure
                                        { 2 · floor                   not sound

so that questions fail in proportion to how natural they are, up to a ceiling without which the
likeliest one would take all the mass. `E` (and C) soften the steps towards a failure: how much the
answer entails the original fact and contradicts the edited one.

The questions that come out are search results. They carry no weight, and no rate is made of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from contraflow.facts import Fact
from contraflow.gflownet.objectives import VarGrad, potentials
from contraflow.policy.distinct import sample_distinct
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.seeding import torch_rng
from contraflow.types import Questions, TerminalReward

Ids = tuple[int, ...]


@dataclass(frozen=True)
class AdaptSettings:
    """How the sampler is adapted to one edit.

    n_questions: different questions a step. n_replayed: known failures that are learned from
    again. likelihood_weight and ceiling (in nats): w and the ceiling of the formula above.
    floor: log R of a sound question that does not fail at all.
    """

    steps: int = 10
    n_questions: int = 16
    n_replayed: int = 8
    lr: float = 1e-3
    likelihood_weight: float = 0.3
    ceiling: float = -8.0
    floor: float = -5.0
    seed: int = 0


@dataclass(frozen=True)
class Judged:
    """What came of one question: whether it is sound, whether it fails, and how nearly (0 … 1)."""

    sound: bool
    fails: bool
    closeness: float


Judge = Callable[[Sequence[str]], list[Judged]]


def adapt(
    policy: LoraPolicy,
    fact: Fact,
    judge: Judge,
    hits: Sequence[Ids],
    settings: AdaptSettings,
    on_step: Callable[[int], None] | None = None,
) -> list[list[str]]:
    """Return the questions of every step; the adapter is as it was afterwards.

    Args:
        judge: asks both models about questions and says what came of each.
        hits: token ids of failing questions that are known already, from any source.
    """
    parameters = [p for p in policy.parameters() if p.requires_grad]
    before = [parameter.detach().clone() for parameter in parameters]
    search = _Search(policy, fact, judge, settings, parameters)
    try:
        search.learn_of(hits)
        steps = []
        for step in range(settings.steps):
            steps.append(search.step(step))
            if on_step is not None:
                on_step(1)
        return steps
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)
        policy.zero_grad(set_to_none=True)


class _Search:
    """One edit's search: its optimizer, and the rewards of every question that was asked."""

    def __init__(
        self,
        policy: LoraPolicy,
        fact: Fact,
        judge: Judge,
        settings: AdaptSettings,
        parameters: Sequence[Tensor],
    ) -> None:
        self.policy = policy
        self.fact = fact
        self.judge = judge
        self.settings = settings
        self.optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=0.0)
        self.objective = VarGrad()
        self._log_reward: dict[Ids, float] = {}
        self._hits: list[Ids] = []

    def learn_of(self, ids: Sequence[Ids]) -> None:
        """Add questions that were found elsewhere."""
        self._score(list(ids))

    def step(self, step: int) -> list[str]:
        """Draw, ask, and take one optimizer step; returns the texts that were drawn."""
        rng = torch_rng(
            self.settings.seed, step, self.fact.fact_id, "adapt", device=self.policy.lm.device
        )
        drawn = sample_distinct(self.policy, [self.fact], self.settings.n_questions, rng)
        ids = self.policy.token_rows(drawn.questions)
        self._score(ids)
        self._train(list(dict.fromkeys([*ids, *self._replayed(step, ids)])))
        return [self.policy.question_text(row) for row in ids]

    def _score(self, ids: Sequence[Ids]) -> None:
        """Rewards of questions that have none yet."""
        new = [row for row in dict.fromkeys(ids) if row not in self._log_reward]
        if not new:
            return
        judged = self.judge([self.policy.question_text(row) for row in new])
        log_prior = self._log_prior(new)
        for row, found, log_p in zip(new, judged, log_prior, strict=True):
            self._log_reward[row] = log_reward(found, log_p, self.settings)
            if found.fails:
                self._hits.append(row)

    def _log_prior(self, ids: Sequence[Ids]) -> list[float]:
        index, questions = self._stacked(ids)
        paths = self.policy.prior([self.fact], index, questions)
        return [float(value) for value in paths.log_p_question]

    def _replayed(self, step: int, drawn: Sequence[Ids]) -> list[Ids]:
        """Known failures that this step did not draw, in turn."""
        others = [row for row in self._hits if row not in set(drawn)]
        n = min(self.settings.n_replayed, len(others))
        start = step * n
        return [others[(start + k) % len(others)] for k in range(n)]

    def _train(self, ids: Sequence[Ids]) -> None:
        if len(ids) < 2:  # a variance of one question is 0
            return
        index, questions = self._stacked(ids)
        log_reward = torch.tensor([self._log_reward[row] for row in ids], device=index.device)
        paths = self.policy.evaluate([self.fact], index, questions)
        loss = self.objective(potentials(paths, TerminalReward(log_reward)), index)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()

    def _stacked(self, ids: Sequence[Ids]) -> tuple[Tensor, Questions]:
        device = self.policy.lm.device
        return torch.zeros(len(ids), dtype=torch.long, device=device), stack_questions(ids, device)


def log_reward(judged: Judged, log_prior: float, settings: AdaptSettings) -> float:
    """log R of one question, in nats: the formula of this module."""
    natural = settings.likelihood_weight * min(log_prior, settings.ceiling)
    if not judged.sound:
        return natural + 2 * settings.floor
    if judged.fails:
        return natural
    return natural + settings.floor * (1.0 - 0.5 * judged.closeness)


def closeness(log_entailment: float, log_contradiction: float) -> float:
    """How near an answer is to a failure, by the judge: the mean of E and of E · C, 0 … 1."""
    e, c = math.exp(log_entailment), math.exp(log_contradiction)
    return 0.5 * (e + e * c)
