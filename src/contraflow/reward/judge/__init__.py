"""The judge: premise = edit fact, hypothesis = answer, scores = log-probs over LABELS.

`PackagedJudge` is MiniLM with the adapter that the package contains; `NliJudge` is any NLI
checkpoint.
"""

from importlib.resources import files
from pathlib import Path

from contraflow.reward.judge.checkpoint import NliJudge
from contraflow.reward.judge.minilm import PackagedJudge
from contraflow.reward.judge.scores import LABELS, Judge, NliScores

__all__ = ["LABELS", "Judge", "NliJudge", "NliScores", "PackagedJudge", "packaged_judge_folder"]


def packaged_judge_folder() -> Path:
    """The folder with the adapter, head and model card of the packaged judge."""
    return Path(str(files("contraflow"))) / "assets" / "judge_minilm"
