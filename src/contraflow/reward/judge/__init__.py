"""The judge: premise = edit fact, hypothesis = answer, scores = log-probs over LABELS.

`EmbeddedJudge` is ours (MiniLM with the adapter that the package ships), `NliJudge` is any NLI checkpoint.
"""

from importlib.resources import files
from pathlib import Path

from contraflow.reward.judge.checkpoint import NliJudge
from contraflow.reward.judge.minilm import EmbeddedJudge
from contraflow.reward.judge.scores import LABELS, Judge, NliScores

__all__ = ["LABELS", "EmbeddedJudge", "Judge", "NliJudge", "NliScores", "shipped_judge_folder"]


def shipped_judge_folder() -> Path:
    """Where the package keeps the adapter, head and model card of the embedded judge."""
    return Path(str(files("contraflow"))) / "assets" / "judge_minilm"
