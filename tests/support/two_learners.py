"""The program of each of two learners: `support.two_learners:main` with FOLDER and WHAT.

WHAT is `steps`, which saves the gradients of `support.shared_step`, or a name of `EXACT`, with
which both learn an enumerable space from four actors and save how far they are from R / Z.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from contraflow.actors.experience import LearnerExperience
from contraflow.actors.follower import FollowerExperience
from contraflow.distributed.rank_info import rank_info_from_environment
from contraflow.distributed.ranks import RankGroup, Ranks
from contraflow.exactness.check import EXPLORATION
from contraflow.exactness.space import Space
from contraflow.gflownet.objectives import Objective, SubTB, VarGrad
from contraflow.replay.embedded import EmbeddedReplay
from contraflow.replay.memory import MemoryReplay
from contraflow.reward.ramps import LinearSchedule
from contraflow.settings.running import ExchangeConfig
from contraflow.training.loss import StepLoss
from support.actors import KEEP_ALL, ThreadPool, space_learner, space_of, space_worker
from support.exact_actors import fit_space, total_variation
from support.shared_step import CASES, step_of

EXCHANGE = ExchangeConfig(
    kind="actors", actors=4, timeout_s=120.0, max_staleness=4, max_reuse=4, newest_share=0.5
)


class Exact(NamedTuple):
    """A loss with as many steps as reach the target, and whether actors send densities."""

    loss: StepLoss
    n_steps: int
    sends_density: bool = False


def _loss(objective: Objective, forward_kl: float = 0.0) -> StepLoss:
    return StepLoss(objective, LinearSchedule(forward_kl, forward_kl, 1))


EXACT = {
    "vargrad": Exact(_loss(VarGrad()), 250),
    "subtb": Exact(_loss(SubTB()), 400),
    "forward_kl": Exact(_loss(VarGrad(), 1.0), 400, sends_density=True),
    "few": Exact(_loss(VarGrad(), 1.0), 6, sends_density=True),
}


def steps(folder: Path, ranks: Ranks) -> None:
    """Save what this learner did in a step of each case."""
    found = {name: vars(step_of(name, ranks, folder)) for name in CASES}
    torch.save(found, folder / f"steps-{ranks.rank}.pt")


def exact(folder: Path, ranks: Ranks, name: str) -> None:
    """Learn the space with the other rank, from one fact a step each."""
    case = EXACT[name]
    space = space_of()
    with _experience(space, folder, ranks, case) as learner:
        metrics = fit_space(space, learner, case.loss, case.n_steps)
    weights = torch.cat([p.detach().flatten() for p in space.policy.parameters()])
    found = {
        "total_variation": total_variation(space),
        "steps": metrics,
        "weights": float(weights.double().square().sum()),
    }
    (folder / f"{name}-{ranks.rank}.json").write_text(json.dumps(found))


@contextmanager
def _experience(
    space: Space, folder: Path, ranks: Ranks, case: Exact
) -> Iterator[LearnerExperience | FollowerExperience]:
    if not ranks.is_first:
        unused = MemoryReplay("unused", KEEP_ALL)
        parts = (space.policy, space.scorer, unused, space.reward, EXPLORATION)
        yield FollowerExperience(*parts, seed=0, ranks=ranks)
        return
    with EmbeddedReplay("exact", KEEP_ALL, folder) as server:
        build = partial(
            space_worker, server.url, sends_density=case.sends_density, facts_per_step=1
        )
        pool = ThreadPool(EXCHANGE.actors, build)
        yield space_learner(space, server.url, EXCHANGE, pool, ranks=ranks, facts_per_assignment=1)


def main(words: list[str]) -> int:
    warnings.filterwarnings("ignore")
    folder, what = Path(words[0]), words[1]
    place = rank_info_from_environment()
    assert place is not None
    ranks = RankGroup(place, 120.0)
    try:
        steps(folder, ranks) if what == "steps" else exact(folder, ranks, what)
    finally:
        ranks.close()
    return 0
