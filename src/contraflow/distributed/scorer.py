"""Rank 0 answers and judges for all; what the frozen prior says, each rank knows itself."""

from __future__ import annotations

from collections.abc import Sequence

from contraflow.distributed.messages import decode, encode
from contraflow.distributed.ranks import Ranks
from contraflow.experience.scorer import OracleJudgement, SampledQuestion, Scorer, ScoreRequest
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.judge.scores import Judge
from contraflow.types import Oracle


class SharedScorer(Scorer):
    """A scorer that every rank asks once a step, be it for nothing; oracle and judge are None but
    on rank 0.

    Only texts travel: question, edit fact and original fact there, an answer and three numbers
    back. The prior is computed where the question was drawn, since every rank holds the backbone.
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

    def verdicts(self, new: Sequence[SampledQuestion], step: int) -> list[OracleJudgement]:
        mine = encode([d.asked for d in new])
        sent = self.ranks.gather(mine, f"questions of step {step}")
        replies: list[bytes] = []
        if self.ranks.is_first:
            asked = [decode(data, list[ScoreRequest]) for data in sent]
            found = iter(self.examine([one for part in asked for one in part]))
            replies = [encode([next(found) for _ in part]) for part in asked]
        return decode(
            self.ranks.scatter(replies, f"answers and verdicts of step {step}"),
            list[OracleJudgement],
        )
