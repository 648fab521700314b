"""The former name of `contraflow.reward.judge`, kept for code that model cards quote."""

from contraflow.reward.judge import (
    LABELS,
    EmbeddedJudge,
    Judge,
    NliJudge,
    NliScores,
    shipped_judge_folder,
)

__all__ = ["LABELS", "EmbeddedJudge", "Judge", "NliJudge", "NliScores", "shipped_judge_folder"]
