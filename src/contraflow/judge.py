"""The former name of `contraflow.reward.judge`, kept for the code in published model cards."""

from contraflow.reward.judge import (
    LABELS,
    Judge,
    NliJudge,
    NliScores,
    PackagedJudge,
    packaged_judge_folder,
)

EmbeddedJudge = PackagedJudge
shipped_judge_folder = packaged_judge_folder

__all__ = ["LABELS", "EmbeddedJudge", "Judge", "NliJudge", "NliScores", "shipped_judge_folder"]
