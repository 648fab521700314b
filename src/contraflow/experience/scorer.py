"""New questions → raw reward parts: the oracle answers, the judge compares, the frozen base model
weighs.

Equal questions about one fact are scored once, within a batch and across the run. Nothing here
knows of phases, temperatures or penalties.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import torch

from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.reward.judge.scores import Judge
from contraflow.text.checks import question_ok
from contraflow.types import Oracle, ScoredQuestion

_Key = tuple[str, tuple[int, ...]]  # fact id, token ids


class ScoreRequest(msgspec.Struct, frozen=True):
    """What oracle and judge must know of a question."""

    question: str
    edit_fact: str
    original_fact: str


class OracleJudgement(msgspec.Struct, frozen=True):
    """What they said of it."""

    answer: str
    log_p_answer: float
    log_contradiction: float
    log_entailment: float


@dataclass(frozen=True)
class SampledQuestion:
    """A question as the policy wrote it, with the fact it was written for."""

    fact: Fact
    ids: tuple[int, ...]
    text: str

    @property
    def key(self) -> _Key:
        return self.fact.fact_id, self.ids

    @property
    def asked(self) -> ScoreRequest:
        return ScoreRequest(self.text, self.fact.edit_fact, self.fact.original_fact)


class Scorer:
    """Oracle, judge and prior behind one method; ``sampler`` is noted on what is scored.

    Only what asks another process has no oracle or judge of its own.
    """

    def __init__(
        self,
        policy: LoraPolicy,
        oracle: Oracle | None,
        judge: Judge | None,
        cache_size: int = 50_000,
        sampler: str = "",
    ) -> None:
        self.policy, self.oracle, self.judge = policy, oracle, judge
        self.cache_size, self.sampler = cache_size, sampler
        self._known: dict[_Key, ScoredQuestion] = {}

    def score(self, drawn: Sequence[SampledQuestion], step: int) -> list[ScoredQuestion]:
        """Raw parts of each question, in order; ``step`` is noted on all, be they new or known.

        The step of a first time would hang on how long this process lives: a resumed run has seen
        less.
        """
        new = list({d.key: d for d in drawn if d.key not in self._known}.values())
        verdicts = self.verdicts(new, step)
        if new:
            for d, verdict, prior in zip(new, verdicts, self._log_prior(new), strict=True):
                self._known[d.key] = _scored(d, verdict, prior, self.sampler)
        scored = [msgspec.structs.replace(self._known[d.key], step=step) for d in drawn]
        self._forget()
        return scored

    def remember(self, scored: Iterable[ScoredQuestion]) -> None:
        """What this sampler was told in an earlier life need not be asked again, and is the same to
        the last digit.

        Else replay might prefer a question to itself: another batch of the judge rounds another
        way. Entries that others wrote or brought are left out; an unbroken run asks about them when
        it draws them.
        """
        self._known |= {(s.fact_id, s.question_ids): s for s in scored if s.sampler == self.sampler}
        self._forget()

    def verdicts(self, new: Sequence[SampledQuestion], step: int) -> list[OracleJudgement]:  # noqa: ARG002
        """What oracle and judge say of questions never seen before, of which there may be none."""
        return self.examine([d.asked for d in new])

    def examine(self, asked: Sequence[ScoreRequest]) -> list[OracleJudgement]:
        """Ask the oracle and judge that are here."""
        if not asked:
            return []
        if self.oracle is None or self.judge is None:
            raise RuntimeError("this process holds no oracle and no judge")
        answers = self.oracle.answer([a.question for a in asked])
        texts = [answer.text for answer in answers]
        log_c = self.judge.score([a.edit_fact for a in asked], texts).log_contradiction.tolist()
        log_e = _log_entailment(self.judge, [a.original_fact for a in asked], texts)
        return [
            OracleJudgement(a.text, a.log_p, c, e)
            for a, c, e in zip(answers, log_c, log_e, strict=True)
        ]

    def _log_prior(self, new: list[SampledQuestion]) -> list[list[float]]:
        """Per question the base model's log-probability of each token and of the stop, L + 1
        numbers.
        """
        facts = list({d.fact.fact_id: d.fact for d in new}.values())
        place = {fact.fact_id: i for i, fact in enumerate(facts)}
        device = self.policy.lm.device
        index = torch.tensor([place[d.fact.fact_id] for d in new], device=device)
        paths = self.policy.prior(facts, index, stack_questions([d.ids for d in new], device))
        stops = paths.log_p_stop.tolist()
        return [
            [*row[: len(d.ids)], s]
            for row, s, d in zip(paths.log_pf.tolist(), stops, new, strict=True)
        ]

    def _forget(self) -> None:
        # Oldest first: dictionaries keep the order of insertion.
        for key in list(self._known)[: max(0, len(self._known) - self.cache_size)]:
            del self._known[key]


def _log_entailment(judge: Judge, originals: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Whether each answer says the original fact; 0, a constant of the fact, where there is none to
    say.
    """
    pairs = [
        (original, answer) for original, answer in zip(originals, answers, strict=True) if original
    ]
    if not pairs:
        return [0.0] * len(originals)
    told = iter(judge.score(*map(list, zip(*pairs, strict=True))).log_entailment.tolist())
    return [next(told) if original else 0.0 for original in originals]


def _scored(
    d: SampledQuestion, verdict: OracleJudgement, prior: list[float], sampler: str
) -> ScoredQuestion:
    fact = d.fact
    return ScoredQuestion(
        fact_id=fact.fact_id,
        question_ids=d.ids,
        question=d.text,
        answer=verdict.answer,
        log_contradiction=verdict.log_contradiction,
        log_p_answer=verdict.log_p_answer,
        log_entailment=verdict.log_entailment,
        log_prior=tuple(prior),
        question_ok=question_ok(
            d.text, fact.subject, fact.original_answer, fact.edited_answer, fact.aliases
        ),
        sampler=sampler,
    )
