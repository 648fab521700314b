"""Train the sampler further against an edited model, one edit at a time: search for failures.

Some ten steps from the given adapter. Each step draws different questions, asks both models, and
moves P_F towards R / Z, with log R - log P_F balanced within the step's questions and the failures
that are known already (VarGrad; Richter et al. 2020). `failure_reward.py` has the reward.

The questions that come out are search results. They carry no weight, and no rate is made of them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import torch
from torch import Tensor

from contraflow.auditing.searching.failure_reward import FailureReward, Judged, Tried, log_rewards
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
    n_replayed: known failures that are learned from again in each update.
    updates: of the optimizer, after the questions of a step.
    """

    steps: int = 10
    n_questions: int = 16
    n_replayed: int = 8
    updates: int = 2
    lr: float = 2e-3
    reward: FailureReward = field(default_factory=FailureReward)
    seed: int = 0


Judge = Callable[[Sequence[str]], list[Judged]]
# n texts -> the mode of each, as `modes.mode_labels` numbers them
Modes = Callable[[Sequence[str]], list[int]]


def adapt(
    policy: LoraPolicy,
    fact: Fact,
    judge: Judge,
    modes: Modes,
    hits: Sequence[Ids],
    settings: AdaptSettings,
    on_step: Callable[[int], None] | None = None,
) -> list[list[str]]:
    """Return the questions of every step; the adapter is as it was afterwards.

    Args:
        judge: asks both models about questions and says what came of each.
        modes: says which failing questions mean the same.
        hits: token ids of failing questions that are known already, from any source.
    """
    # The backbone is no part of the policy as a module; VarGrad needs no flow.
    parameters = [p for p in policy.lm.model.parameters() if p.requires_grad]
    search = _Search(policy, fact, judge, modes, settings, parameters)
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
        modes: Modes,
        settings: AdaptSettings,
        parameters: Sequence[Tensor],
    ) -> None:
        self.policy = policy
        self.fact = fact
        self.judge = judge
        self.modes = modes
        self.settings = settings
        self.optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=0.0)
        self.objective = VarGrad()
        self.parameters = parameters
        self._start = [parameter.detach().clone() for parameter in parameters]
        self._tried: dict[Ids, Tried] = {}

    def learn_of(self, ids: Sequence[Ids]) -> None:
        """Add questions that were found elsewhere."""
        self._ask(list(ids))

    def step(self, step: int) -> list[str]:
        """Draw, ask, and take one optimizer step; returns the texts that were drawn."""
        rng = torch_rng(
            self.settings.seed, step, self.fact.fact_id, "adapt", device=self.policy.lm.device
        )
        # Until a failure is known, every other step asks as P_Q does: it reaches wordings that the
        # trained sampler has left.
        as_prior = not self._hits() and step % 2 == 1
        n = self.settings.n_questions
        drawn = sample_distinct(self.policy, [self.fact], n, rng, frozen=as_prior, same=normalize)
        ids = self.policy.token_rows(drawn.questions)
        self._ask(ids)
        for update in range(self.settings.updates):
            turn = step * self.settings.updates + update
            self._train(list(dict.fromkeys([*ids, *self._replayed(turn, ids)])))
        return [self.policy.question_text(row) for row in ids]

    def _ask(self, ids: Sequence[Ids]) -> None:
        """Ask about questions that are new, and form the modes of all failures anew."""
        new = [row for row in dict.fromkeys(ids) if row not in self._tried]
        if not new:
            return
        judged = self.judge([self.policy.question_text(row) for row in new])
        for row, found, log_mix in zip(new, judged, self._log_mix(new), strict=True):
            self._tried[row] = Tried(found, log_mix)
        hits = self._hits()
        modes = self.modes([self.policy.question_text(row) for row in hits])
        for row, mode in zip(hits, modes, strict=True):
            self._tried[row] = replace(self._tried[row], mode=mode)

    def _hits(self) -> list[Ids]:
        return [row for row, tried in self._tried.items() if tried.judged.fails]

    @torch.no_grad()
    def _log_mix(self, ids: Sequence[Ids]) -> list[float]:
        """log P_mix of questions, in nats."""
        index, questions = self._stacked(ids)
        prior = self.policy.prior([self.fact], index, questions).log_p_question
        with restored(self.parameters):
            _copy(self._start, self.parameters)
            start = self.policy.evaluate([self.fact], index, questions).log_p_question
        return (torch.logaddexp(prior, start) - math.log(2)).tolist()

    def _replayed(self, turn: int, drawn: Sequence[Ids]) -> list[Ids]:
        """Known failures that this step did not draw, in turn, one of each mode after another."""
        others = self._by_turns([row for row in self._hits() if row not in set(drawn)])
        n = min(self.settings.n_replayed, len(others))
        return [others[(turn * n + k) % len(others)] for k in range(n)]

    def _by_turns(self, hits: Sequence[Ids]) -> list[Ids]:
        """The first of each mode, then the second of each, and so on."""
        of_mode: defaultdict[int | None, list[Ids]] = defaultdict(list)
        for row in hits:
            of_mode[self._tried[row].mode].append(row)
        rounds = zip_longest(*of_mode.values())
        return [row for one_round in rounds for row in one_round if row is not None]

    def _train(self, ids: Sequence[Ids]) -> None:
        if len(ids) < 2:  # a variance of one question is 0
            return
        index, questions = self._stacked(ids)
        log_reward = torch.tensor(self._log_reward(ids), device=index.device)
        paths = self.policy.evaluate([self.fact], index, questions)
        loss = self.objective(potentials(paths, TerminalReward(log_reward)), index)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()

    def _log_reward(self, ids: Sequence[Ids]) -> list[float]:
        """log R of questions that were tried, in nats."""
        rewards = log_rewards(list(self._tried.values()), self.settings.reward)
        of = dict(zip(self._tried, rewards, strict=True))
        return [of[row] for row in ids]

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
