"""Rank 0 holds the only oracle and judge and scores for all; each rank computes its own prior."""

from __future__ import annotations

from collections.abc import Sequence

from contraflow.distributed.messages import decode, encode
from contraflow.distributed.ranks import Ranks
from contraflow.experience.scorer import OracleJudgement, SampledQuestion, Scorer, ScoreRequest
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.judge.scores import Judge
from contraflow.types import Oracle


class SharedScorer(Scorer):
    """A scorer with one oracle and one judge, on rank 0. Oracle and judge are None on other ranks.

    Scoring is collective: every rank calls it once per step, even with an empty batch. Only texts
    travel: question, edit fact and original fact to rank 0, an answer and three numbers back. The
    prior is computed where the question was sampled, since every rank holds the backbone.
    """

    def __init__(
        self,
        policy: LoraPolicy,
        oracle: Oracle | None,
        judge: Judge | None,
        ranks: Ranks,
        sampler: str = "",
    ) -> None:
        super().__init__(policy, oracle, judge, sampler=sampler)
        self.ranks = ranks

    def judgements(self, new: Sequence[SampledQuestion], step: int) -> list[OracleJudgement]:
        """Collective: gather all ranks' requests on rank 0, score them, scatter the results."""
        mine = encode([q.request for q in new])
        gathered = self.ranks.gather(mine, f"questions of step {step}")
        replies: list[bytes] = []
        if self.ranks.is_first:
            per_rank = [decode(data, list[ScoreRequest]) for data in gathered]
            judged = iter(self.query([request for part in per_rank for request in part]))
            replies = [encode([next(judged) for _ in part]) for part in per_rank]
        own = self.ranks.scatter(replies, f"answers and verdicts of step {step}")
        return decode(own, list[OracleJudgement])
