"""New questions become raw reward parts: the oracle answers, the judge compares, the prior weighs.

Equal questions about one fact are scored once, within a batch and across the run. Nothing here
depends on phases, temperatures or penalties.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import torch

from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.reward.judge.scores import Judge
from contraflow.text.questions import question_ok
from contraflow.types import Oracle, ScoredQuestion

_Key = tuple[str, tuple[int, ...]]  # fact key, token ids


class ScoreRequest(msgspec.Struct, frozen=True):
    """The texts that oracle and judge need to score one question."""

    question: str
    edit_fact: str
    original_fact: str


class OracleJudgement(msgspec.Struct, frozen=True):
    """The oracle's answer to one question and the judge's scores of that answer."""

    answer: str
    log_p_answer: float
    log_contradiction: float
    log_entailment: float


@dataclass(frozen=True)
class SampledQuestion:
    """A question of the policy, with the fact that it was sampled for."""

    fact: Fact
    ids: tuple[int, ...]
    text: str

    @property
    def key(self) -> _Key:
        """Equal for equal questions about one fact."""
        return self.fact.key, self.ids

    @property
    def request(self) -> ScoreRequest:
        """What oracle and judge are asked."""
        return ScoreRequest(self.text, self.fact.edit_fact, self.fact.original_fact)


class Scorer:
    """Oracle, judge and prior behind one method, with a cache.

    ``sampler`` is the fingerprint that is recorded on every scored question. Oracle and judge are
    None in a process that asks another one (`SharedScorer`).
    """

    def __init__(
        self,
        policy: LoraPolicy,
        oracle: Oracle | None,
        judge: Judge | None,
        cache_size: int = 50_000,
        sampler: str = "",
    ) -> None:
        self.policy = policy
        self.oracle = oracle
        self.judge = judge
        self.cache_size = cache_size
        self.sampler = sampler
        self._cache: dict[_Key, ScoredQuestion] = {}

    def score(self, sampled: Sequence[SampledQuestion], step: int) -> list[ScoredQuestion]:
        """Return the raw parts of each question, in order, all marked with ``step``.

        Recording the first scoring step instead would depend on the cache, which a resumed run has
        lost.
        """
        new = list({q.key: q for q in sampled if q.key not in self._cache}.values())
        judgements = self.judgements(new, step)
        if new:
            for q, judgement, prior in zip(new, judgements, self._log_prior(new), strict=True):
                self._cache[q.key] = _scored(q, judgement, prior, self.sampler)
        scored = [msgspec.structs.replace(self._cache[q.key], step=step) for q in sampled]
        self._evict()
        return scored

    def preload(self, scored: Iterable[ScoredQuestion]) -> None:
        """Fill the cache of a resumed run with what this sampler has scored before.

        Scoring a question again in another batch rounds differently, and replay might then replace
        a question by itself. Entries of other samplers are left out: an unbroken run scores those
        when it samples them.
        """
        own = [s for s in scored if s.sampler == self.sampler]
        self._cache |= {(s.fact_key, s.question_ids): s for s in own}
        self._evict()

    def judgements(
        self,
        new: Sequence[SampledQuestion],
        step: int,  # noqa: ARG002 (used where ranks share a scorer)
    ) -> list[OracleJudgement]:
        """Answer and judge questions that are not in the cache. ``new`` may be empty."""
        return self.query([q.request for q in new])

    def query(self, requests: Sequence[ScoreRequest]) -> list[OracleJudgement]:
        """Query the oracle and the judge of this process.

        Raises: RuntimeError in a process that holds neither.
        """
        if not requests:
            return []
        if self.oracle is None or self.judge is None:
            raise RuntimeError("this process holds no oracle and no judge")
        answers = self.oracle.answer([r.question for r in requests])
        texts = [answer.text for answer in answers]
        log_c, log_e = _judged(self.judge, requests, texts)
        return [
            OracleJudgement(answer.text, answer.log_p, c, e)
            for answer, c, e in zip(answers, log_c, log_e, strict=True)
        ]

    def _log_prior(self, new: list[SampledQuestion]) -> list[list[float]]:
        """Return per question the base model's log-probability of each token and of the stop."""
        facts = list({q.fact.key: q.fact for q in new}.values())
        position = {fact.key: i for i, fact in enumerate(facts)}
        index = [position[q.fact.key] for q in new]
        paths = self.policy.prior(facts, index, stack_questions([q.ids for q in new], "cpu"))
        # One copy to the host: each copy waits for a GPU.
        rows = torch.cat([paths.log_pf, paths.log_p_stop[:, None]], 1).tolist()
        return [[*row[: len(q.ids)], row[-1]] for row, q in zip(rows, new, strict=True)]

    def _evict(self) -> None:
        # Oldest first: dictionaries keep the order of insertion.
        for key in list(self._cache)[: max(0, len(self._cache) - self.cache_size)]:
            del self._cache[key]


def _judged(
    judge: Judge, requests: Sequence[ScoreRequest], answers: Sequence[str]
) -> tuple[list[float], list[float]]:
    """log C of each answer, and log P(the original fact entails it); 0 where there is none.

    One call of the judge, which batches the pairs of both by length.
    """
    known = [i for i, request in enumerate(requests) if request.original_fact]
    premises = [r.edit_fact for r in requests] + [requests[i].original_fact for i in known]
    scores = judge.score(premises, [*answers, *(answers[i] for i in known)])
    n = len(requests)
    log_e = [0.0] * n
    for i, value in zip(known, scores.log_entailment[n:].tolist(), strict=True):
        log_e[i] = value
    return scores.log_contradiction[:n].tolist(), log_e


def _scored(
    q: SampledQuestion, judgement: OracleJudgement, prior: list[float], sampler: str
) -> ScoredQuestion:
    fact = q.fact
    return ScoredQuestion(
        fact_id=fact.fact_id,
        fact_hash=fact.content_hash,
        question_ids=q.ids,
        question=q.text,
        answer=judgement.answer,
        log_contradiction=judgement.log_contradiction,
        log_p_answer=judgement.log_p_answer,
        log_entailment=judgement.log_entailment,
        log_prior=tuple(prior),
        question_ok=question_ok(
            q.text, fact.subject, fact.original_answer, fact.edited_answer, fact.aliases
        ),
        sampler=sampler,
    )
