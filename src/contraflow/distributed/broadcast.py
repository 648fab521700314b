"""All ranks learn from rank 0's batch, as in the published prototype: N ranks do the work of one.

Kept for comparison. One thing differs: the facts travel with the questions. In the prototype each
rank conditioned on a fact of its own while it learned from rank 0's questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from contraflow.distributed.messages import decode, encode
from contraflow.distributed.ranks import Ranks
from contraflow.experience.collect import Batch, Experience
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.base import ReplayStore
from contraflow.reward.schedule import RewardSchedule
from contraflow.settings.learning import ExplorationConfig
from contraflow.settings.running import ReplayConfig
from contraflow.types import ScoredQuestion


class BroadcastExperience(Experience):
    """Rank 0 collects as a single process would and broadcasts the batch."""

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
        replay_settings: ReplayConfig | None = None,
    ) -> None:
        super().__init__(
            policy,
            scorer,
            replay,
            reward,
            settings,
            seed=seed,
            rank=ranks.rank,
            replay_settings=replay_settings,
        )
        self.ranks = ranks

    def collect(self, facts: Sequence[Fact], step: int, seen: Sequence[Fact] = ()) -> Batch:
        """Collective: every rank calls it once per step."""
        data = encode(super().collect(facts, step, seen)) if self.ranks.is_first else b""
        batch = decode(self.ranks.broadcast(data, f"batch of step {step}"), Batch)
        return replace(batch, device=str(self.policy.lm.device))

    def prefixes(self, batch: Batch, step: int) -> list[list[ScoredQuestion]]:
        """Collective: every rank calls it once per step."""
        data = encode(super().prefixes(batch, step)) if self.ranks.is_first else b""
        received = self.ranks.broadcast(data, f"prefix rewards of step {step}")
        return decode(received, list[list[ScoredQuestion]])
