"""Accuracy, per-category recall, calibration error and the temperature that mends it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from contraflow.reward.judge.batching import encode_pairs, score_in_batches
from contraflow.reward.judge.minilm import PairNetwork
from contraflow.reward.judge.scores import LABELS
from contraflow.reward.judge.training.pairs import Pair

_CONTRADICTION = LABELS.index("contradiction")


@dataclass(frozen=True)
class Measured:
    """Figures of one set of pairs; soft pairs count for `contradiction_vs_rest` only."""

    three_way: float
    contradiction_vs_rest: float
    ece: float
    recall_by_category: dict[str, float]


@torch.inference_mode()
def pair_logits(
    network: PairNetwork, tokenizer: Any, pairs: Sequence[Pair], max_length: int
) -> Float[Tensor, "n 3"]:
    """Uncalibrated logits, in float32."""

    def score(premises: Sequence[str], hypotheses: Sequence[str]) -> Float[Tensor, "n 3"]:
        return network(dict(encode_pairs(tokenizer, premises, hypotheses, max_length)))  # type: ignore[no-any-return]

    return score_in_batches(
        score, [pair.premise for pair in pairs], [pair.hypothesis for pair in pairs], 64
    )


def measure(log_probs: Float[Tensor, "n 3"], pairs: Sequence[Pair]) -> Measured:
    """Compare the likeliest label with the made one."""
    targets = torch.tensor([pair.target for pair in pairs])
    hard = targets.max(-1).values == 1
    said, true = log_probs.argmax(-1), targets.argmax(-1)
    rest = (said == _CONTRADICTION) == (true == _CONTRADICTION)
    right: dict[str, list[float]] = defaultdict(list)
    for pair, same, same_rest, counts in zip(pairs, said == true, rest, hard, strict=True):
        right[pair.category].append(float(same if counts else same_rest))
    return Measured(
        (said == true)[hard].float().mean().item(),
        rest.float().mean().item(),
        calibration_error(log_probs[:, _CONTRADICTION].exp(), true == _CONTRADICTION),
        {category: sum(values) / len(values) for category, values in sorted(right.items())},
    )


def calibration_error(
    probability: Float[Tensor, " n"], happened: Tensor, n_bins: int = 10
) -> float:
    """Expected calibration error of P(contradiction): mean gap of said and seen, weighted by bin
    size.
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
    """The divisor of the logits with the lowest cross-entropy, by a fine grid."""
    grid = [0.25 * 1.03**power for power in range(120)]
    losses = [torch.nn.functional.cross_entropy(logits / t, targets).item() for t in grid]
    return grid[losses.index(min(losses))]


def worst(log_probs: Float[Tensor, "n 3"], pairs: Sequence[Pair], n: int) -> list[str]:
    """The pairs with the least probability on their label: where to mend the data."""
    targets = torch.tensor([pair.target for pair in pairs])
    likelihood = (targets * log_probs.exp()).sum(-1)
    return [
        f"{likelihood[row]:.2f} {LABELS[int(log_probs[row].argmax())]:<13} {pairs[row].category:<30} "
        f"{pairs[row].premise} || {pairs[row].hypothesis}"
        for row in likelihood.argsort()[:n].tolist()
    ]
