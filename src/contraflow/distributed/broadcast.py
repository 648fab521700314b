"""All ranks learn from rank 0's batch, as in the design we come from: N ranks do the work of one.

Kept to be compared with. One thing differs: the facts travel with the questions. There each rank
conditioned on a fact of its own while it learned from rank 0's questions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from contraflow.distributed.messages import BatchNote, decode, encode
from contraflow.distributed.ranks import Ranks
from contraflow.experience.collect import Batch, Experience
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.replay.base import ReplayStore
from contraflow.reward.schedule import RewardSchedule
from contraflow.settings.learning import ExplorationConfig
from contraflow.types import ScoredQuestion


class BroadcastExperience(Experience):
    """Rank 0 collects as a single process would, and tells the others."""

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

    def collect(self, facts: Sequence[Fact], step: int, seen: Sequence[Fact] = ()) -> Batch:
        note = encode(_note(super().collect(facts, step, seen))) if self.ranks.is_first else b""
        return self._batch_of(
            decode(self.ranks.broadcast(note, f"batch of step {step}"), BatchNote)
        )

    def prefixes(self, batch: Batch, step: int) -> list[list[ScoredQuestion]]:
        rows = encode(super().prefixes(batch, step)) if self.ranks.is_first else b""
        told = self.ranks.broadcast(rows, f"prefix rewards of step {step}")
        return decode(told, list[list[ScoredQuestion]])

    def _batch_of(self, note: BatchNote) -> Batch:
        device = self.policy.lm.device
        index = torch.tensor(note.fact_index, device=device)
        questions = stack_questions([s.question_ids for s in note.scored], device)
        return Batch(
            note.facts, index, questions, note.scored, note.times, note.pf_temp, note.n_replayed
        )


def _note(batch: Batch) -> BatchNote:
    return BatchNote(
        batch.facts,
        tuple(batch.fact_index.tolist()),
        batch.scored,
        batch.times,
        batch.pf_temp,
        batch.n_replayed,
    )
