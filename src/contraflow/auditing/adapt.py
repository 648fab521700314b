"""Train the sampler further against an edited model, one edit at a time: search for failures.

Some ten steps from the given adapter. Each step draws different questions, asks both models, and
moves P_F towards R / Z, with log R - log P_F balanced within the step's questions and the failures
that are known already (VarGrad; Richter et al. 2020). The rewards are

    log R = min(log P_mix, ceiling) + { 0                               the question fails
                                      { floor · (1 - closeness / 2)     sound, but no failure
                                      { 2 · floor                       not sound

    P_mix = P_Q / 2 + P_start / 2

so that questions fail in proportion to how likely the untrained sampler or the given one asks them,
up to a ceiling without which the likeliest one would take all the mass. `closeness` softens the
step towards a failure: how much the answer entails the original fact and contradicts the edited
one.

The reference is P_mix, not a power of P_Q as in training: at the first step log R - log P_F is then
the term in braces, but for what P_Q adds, so ten steps go to failures alone. With P_Q^0.3 most of
it was the distance of the sampler from the prior, and the sampler drifted to rare, unsound
questions without reaching a failure that it was given (`test_adapt_real.py` is that case).

The questions that come out are search results. They carry no weight, and no rate is made of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from contraflow.facts import Fact
from contraflow.gflownet.objectives import VarGrad, potentials
from contraflow.policy.distinct import sample_distinct
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.seeding import torch_rng
from contraflow.text.tokens import normalize
from contraflow.types import Questions, TerminalReward

Ids = tuple[int, ...]


@dataclass(frozen=True)
class AdaptSettings:
    """How the sampler is adapted to one edit.

    n_questions: questions a step that differ in more than case, punctuation and a leading article.
    n_replayed: known failures that are learned from again.
    ceiling and floor: of the formula above, in nats.
    """

    steps: int = 10
    n_questions: int = 16
    n_replayed: int = 8
    lr: float = 2e-3
    ceiling: float = -12.0
    floor: float = -8.0
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
    # The backbone is no part of the policy as a module; VarGrad needs no flow.
    parameters = [p for p in policy.lm.model.parameters() if p.requires_grad]
    search = _Search(policy, fact, judge, settings, parameters)
    with restored(parameters):
        search.learn_of(hits)
        steps = []
        for step in range(settings.steps):
            steps.append(search.step(step))
            if on_step is not None:
                on_step(1)
        return steps


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
        self.parameters = parameters
        self._start = [parameter.detach().clone() for parameter in parameters]
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
        # Until a failure is known, every other step asks as P_Q does: it reaches wordings that the
        # trained sampler has left.
        as_prior = not self._hits and step % 2 == 1
        n = self.settings.n_questions
        drawn = sample_distinct(self.policy, [self.fact], n, rng, frozen=as_prior, same=normalize)
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
        log_mix = self._log_mix(new)
        for row, found, log_p in zip(new, judged, log_mix, strict=True):
            self._log_reward[row] = log_reward(found, log_p, self.settings)
            if found.fails:
                self._hits.append(row)

    @torch.no_grad()
    def _log_mix(self, ids: Sequence[Ids]) -> list[float]:
        """log P_mix of questions, in nats."""
        index, questions = self._stacked(ids)
        prior = self.policy.prior([self.fact], index, questions).log_p_question
        with restored(self.parameters):
            _copy(self._start, self.parameters)
            start = self.policy.evaluate([self.fact], index, questions).log_p_question
        return (torch.logaddexp(prior, start) - math.log(2)).tolist()

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


@contextmanager
def restored(parameters: Sequence[Tensor]) -> Iterator[None]:
    """Give parameters back their values after the block, without gradients."""
    own = [parameter.detach().clone() for parameter in parameters]
    try:
        yield
    finally:
        _copy(own, parameters)
        for parameter in parameters:
            parameter.grad = None


@torch.no_grad()
def _copy(values: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def log_reward(judged: Judged, log_mix: float, settings: AdaptSettings) -> float:
    """log R of one question, in nats: the formula of this module."""
    likely = min(log_mix, settings.ceiling)
    if not judged.sound:
        return likely + 2 * settings.floor
    if judged.fails:
        return likely
    return likely + settings.floor * (1.0 - 0.5 * judged.closeness)


def closeness(log_entailment: float, log_contradiction: float) -> float:
    """How near an answer is to a failure, by the judge: the mean of E and of E · C, 0 … 1."""
    e, c = math.exp(log_entailment), math.exp(log_contradiction)
    return 0.5 * (e + e * c)
