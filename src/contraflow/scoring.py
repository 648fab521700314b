"""New questions → raw reward parts: the oracle answers, the judge compares, the frozen base model weighs.

Equal questions about one fact are scored once, within a batch and across the run. Nothing here knows of
phases, temperatures or penalties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from contraflow.facts import Fact
from contraflow.judging.scores import Judge
from contraflow.oracle import Answer, Oracle
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.text_checks import question_ok
from contraflow.types import ScoredQuestion

_Key = tuple[str, tuple[int, ...]]  # fact id, token ids


@dataclass(frozen=True)
class Drawn:
    """A question as the policy wrote it, with the fact it was written for."""

    fact: Fact
    ids: tuple[int, ...]
    text: str

    @property
    def key(self) -> _Key:
        return self.fact.fact_id, self.ids


class Scorer:
    """Oracle, judge and prior behind one method; ``sampler`` is noted on what is scored."""

    def __init__(
        self, policy: LoraPolicy, oracle: Oracle, judge: Judge, cache_size: int = 50_000, sampler: str = ""
    ) -> None:
        self.policy, self.oracle, self.judge = policy, oracle, judge
        self.cache_size, self.sampler = cache_size, sampler
        self._known: dict[_Key, ScoredQuestion] = {}

    def score(self, drawn: Sequence[Drawn], step: int) -> list[ScoredQuestion]:
        """Raw parts of each question, in order; ``step`` is noted on those seen for the first time."""
        new = list({d.key: d for d in drawn if d.key not in self._known}.values())
        if new:
            self._remember(new, step)
        scored = [self._known[d.key] for d in drawn]
        self._forget()
        return scored

    def _remember(self, new: list[Drawn], step: int) -> None:
        answers = self.oracle.answer([d.text for d in new])
        nli = self.judge.score([d.fact.edit_fact for d in new], [a.text for a in answers])
        log_cs, log_es, priors = (
            nli.log_contradiction.tolist(),
            self._log_entailment(new, answers),
            self._log_prior(new),
        )
        for d, answer, log_c, log_e, prior in zip(new, answers, log_cs, log_es, priors, strict=True):
            self._known[d.key] = _scored(d, answer, log_c, log_e, prior, step, self.sampler)

    def _log_entailment(self, new: Sequence[Drawn], answers: Sequence[Answer]) -> list[float]:
        """Whether each answer says the original fact; 0, a constant of the fact, where there is none to say."""
        pairs = [
            (d.fact.original_fact, a.text) for d, a in zip(new, answers, strict=True) if d.fact.original_fact
        ]
        if not pairs:
            return [0.0] * len(new)
        told = iter(self.judge.score(*map(list, zip(*pairs, strict=True))).log_entailment.tolist())
        return [next(told) if d.fact.original_fact else 0.0 for d in new]

    def _log_prior(self, new: list[Drawn]) -> list[list[float]]:
        """Per question the base model's log-probability of each token and of the stop, L + 1 numbers."""
        facts = list({d.fact.fact_id: d.fact for d in new}.values())
        place = {fact.fact_id: i for i, fact in enumerate(facts)}
        device = self.policy.lm.device
        index = torch.tensor([place[d.fact.fact_id] for d in new], device=device)
        paths = self.policy.prior(facts, index, stack_questions([d.ids for d in new], device))
        stops = paths.log_p_stop.tolist()
        return [[*row[: len(d.ids)], s] for row, s, d in zip(paths.log_pf.tolist(), stops, new, strict=True)]

    def _forget(self) -> None:
        # Oldest first: dictionaries keep the order of insertion.
        for key in list(self._known)[: max(0, len(self._known) - self.cache_size)]:
            del self._known[key]


def _scored(
    d: Drawn, answer: Answer, log_c: float, log_e: float, prior: list[float], step: int, sampler: str
) -> ScoredQuestion:
    fact = d.fact
    return ScoredQuestion(
        fact_id=fact.fact_id,
        question_ids=d.ids,
        question=d.text,
        answer=answer.text,
        log_contradiction=log_c,
        log_p_answer=answer.log_p,
        log_entailment=log_e,
        log_prior=tuple(prior),
        question_ok=question_ok(d.text, fact.subject, fact.original_answer, fact.edited_answer, fact.aliases),
        step=step,
        sampler=sampler,
    )
