"""The batches of learners other than the one that has the exchange, which deals them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from contraflow.distributed.messages import decode, encode
from contraflow.distributed.ranks import Ranks
from contraflow.experience.collect import Batch, Experience
from contraflow.experience.density import DrawnBatch
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.base import ReplayStore
from contraflow.reward.schedule import RewardSchedule
from contraflow.settings.learning import ExplorationConfig


class FollowerExperience(Experience):
    """Batches that rank 0 sends; this rank samples nothing, and reads no replay."""

    def __init__(
        self,
        policy: LoraPolicy,
        scorer: Scorer,
        replay: ReplayStore,
        reward: RewardSchedule,
        settings: ExplorationConfig,
        *,
        seed: int,
        ranks: Ranks,
    ) -> None:
        super().__init__(policy, scorer, replay, reward, settings, seed=seed, rank=ranks.rank)
        self.ranks = ranks

    def collect(self, facts: Sequence[Fact], step: int, seen: Sequence[Fact] = ()) -> Batch:  # noqa: ARG002
        """Return this rank's share of a step's batch. Collective: every rank calls it once a step.

        Waits while rank 0 waits for actors. The facts are those of the questions that come.
        """
        batch = decode(self.ranks.scatter((), _phase(step)), DrawnBatch)
        return replace(batch, device=str(self.policy.lm.device))


def send_shares(ranks: Ranks, batches: Sequence[DrawnBatch], step: int) -> DrawnBatch:
    """Send each rank its batch of a step; returns rank 0's own. Collective, called by rank 0."""
    ranks.scatter([b"", *map(encode, batches[1:])], _phase(step))
    return batches[0]


def _phase(step: int) -> str:
    return f"questions of actors for step {step}"
