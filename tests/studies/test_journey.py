"""The prototype's loss: what it computes, and that its reward cancels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from contraflow.gflownet.objectives import VarGrad, potentials
from contraflow.settings.learning import RewardConfig
from contraflow.training import job, rank
from contraflow.types import PathLogProbs, TerminalReward
from studies.journey.loss import prototype_loss
from studies.journey.train import module_class
from support.runs import lines, tiny_config


def paths_of(seed: int, min_len: int = 1) -> PathLogProbs:
    """Three questions of 3, 2 and 4 tokens; stopping is allowed from ``min_len`` tokens on."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([3, 2, 4])
    log_pf = torch.randn(3, 4, generator=rng) - 1
    log_pterm = torch.randn(3, 5, generator=rng) - 1
    log_pf[torch.arange(4)[None, :] >= lengths[:, None]] = 0
    log_pterm[torch.arange(5)[None, :] > lengths[:, None]] = 0
    log_pterm[:, :min_len] = -torch.inf
    return PathLogProbs(log_pf, log_pterm, torch.zeros(3, 5), lengths)


def by_loops(paths: PathLogProbs, log_reward: list[float], lam: float, min_len: int) -> float:
    """The formula, pair by pair."""
    per_path = []
    for b, length in enumerate(paths.lengths.tolist()):
        total = weights = 0.0
        for i in range(min_len, length + 1):
            for j in range(i + 1, length + 1):
                r = log_reward[b] - log_reward[b] + float(paths.log_pf[b, i:j].sum())
                r += float(paths.log_pterm[b, j] - paths.log_pterm[b, i])
                total += lam ** (j - i) * r**2
                weights += lam ** (j - i)
        per_path.append(total / weights if weights else 0.0)
    return sum(per_path) / len(per_path)


@pytest.mark.parametrize("lam", [1.0, 0.5])
@pytest.mark.parametrize("min_len", [0, 1, 2])
def test_the_loss_is_that_of_its_formula(lam: float, min_len: int) -> None:
    paths = paths_of(0, min_len)
    loss = prototype_loss(paths, torch.tensor([1.0, -2.0, 3.0]), lam)
    expected = by_loops(paths, [1.0, -2.0, 3.0], lam, min_len)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def gradient(loss: torch.Tensor, paths: PathLogProbs) -> torch.Tensor:
    return torch.autograd.grad(loss, paths.log_pf)[0]


def test_the_reward_reaches_ours_and_not_the_prototype() -> None:
    paths = paths_of(1)
    paths.log_pf.requires_grad_()
    rewards = [TerminalReward(torch.tensor(r)) for r in ([0.0, 0.0, 0.0], [-1.0, -50.0, -6.0])]
    group = torch.zeros(3, dtype=torch.long)
    prototype = [gradient(prototype_loss(paths, r.log_reward), paths) for r in rewards]
    ours = [gradient(VarGrad()(potentials(paths, r), group), paths) for r in rewards]
    assert torch.allclose(*prototype, atol=1e-4) and prototype[0].abs().max() > 0.1
    assert not torch.allclose(*ours, atol=1.0)


def test_a_run_trains_with_the_prototype_loss(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the weights in its reward, its first loss is the same, unlike that of SubTB."""
    first: dict[str, float] = {}
    for name in ("prototype", "ours"):
        with monkeypatch.context() as patch:
            if name == "prototype":
                patch.setattr(rank, "SamplerModule", module_class(1.0))
            for weight in (1.0, 3.0):
                run = f"{name}{weight}"
                reward = RewardConfig(kind="static", likelihood_weight=weight)
                job.train(tiny_config(tiny, run, reward=reward))
                first[run] = lines(tiny / run)[0]["loss"]
    assert first["prototype1.0"] == pytest.approx(first["prototype3.0"], rel=1e-6)
    assert first["ours1.0"] != pytest.approx(first["ours3.0"], rel=1e-2)
