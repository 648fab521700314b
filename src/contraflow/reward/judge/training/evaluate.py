"""Accuracy, recall per category, calibration error, and the temperature that calibrates."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.reward.judge.minilm import PairNetwork
from contraflow.reward.judge.scores import LABELS
from contraflow.reward.judge.scoring import PairScorer
from contraflow.reward.judge.training.pairs import Pair

_CONTRADICTION = LABELS.index("contradiction")


@dataclass(frozen=True)
class Measured:
    """Figures of one set of pairs; soft labels count for `contradiction_vs_rest` only."""

    three_way: float
    contradiction_vs_rest: float
    ece: float
    recall_by_category: dict[str, float]


@torch.inference_mode()
def pair_logits(
    network: PairNetwork, tokenizer: Any, pairs: Sequence[Pair], max_length: int
) -> Float[Tensor, "n 3"]:
    """Uncalibrated logits, in float32."""

    score = PairScorer(network, tokenizer, max_length, 64)
    return score([pair.premise for pair in pairs], [pair.hypothesis for pair in pairs])


def measure(log_probs: Float[Tensor, "n 3"], pairs: Sequence[Pair]) -> Measured:
    """Compare the most probable label with the target label."""
    targets = torch.tensor([pair.target for pair in pairs])
    hard = targets.max(-1).values == 1
    predicted = log_probs.argmax(-1)
    true = targets.argmax(-1)
    three_way = predicted == true
    versus_rest = (predicted == _CONTRADICTION) == (true == _CONTRADICTION)
    correct: dict[str, list[float]] = defaultdict(list)
    for pair, is_correct in zip(pairs, torch.where(hard, three_way, versus_rest), strict=True):
        correct[pair.category].append(float(is_correct))
    return Measured(
        three_way[hard].float().mean().item(),
        versus_rest.float().mean().item(),
        calibration_error(log_probs[:, _CONTRADICTION].exp(), true == _CONTRADICTION),
        {category: sum(values) / len(values) for category, values in sorted(correct.items())},
    )


def calibration_error(
    probability: Float[Tensor, " n"], happened: Tensor, n_bins: int = 10
) -> float:
    """Expected calibration error of P(contradiction).

    The mean gap between predicted probability and observed frequency, weighted by bin size.
    """
    bins = (probability * n_bins).long().clamp(max=n_bins - 1)
    error = 0.0
    for index in range(n_bins):
        inside = bins == index
        if inside.any():
            gap = probability[inside].mean() - happened[inside].float().mean()
            error += inside.float().mean().item() * abs(gap.item())
    return error


def best_temperature(logits: Float[Tensor, "n 3"], targets: Float[Tensor, "n 3"]) -> float:
    """The divisor of the logits with the lowest cross-entropy, from a fine grid."""
    grid = [0.25 * 1.03**power for power in range(120)]
    losses = [torch.nn.functional.cross_entropy(logits / t, targets).item() for t in grid]
    return grid[losses.index(min(losses))]


def worst(log_probs: Float[Tensor, "n 3"], pairs: Sequence[Pair], n: int) -> list[str]:
    """Lines on the n pairs with the least probability on their label: where to improve the data."""
    targets = torch.tensor([pair.target for pair in pairs])
    likelihood = (targets * log_probs.exp()).sum(-1)
    lines = []
    for row in likelihood.argsort()[:n].tolist():
        pair = pairs[row]
        label = LABELS[int(log_probs[row].argmax())]
        lines.append(
            f"{likelihood[row]:.2f} {label:<13} {pair.category:<30} "
            f"{pair.premise} || {pair.hypothesis}"
        )
    return lines
