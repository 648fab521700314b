"""Where a training batch comes from: the policy writes it and the scorer weighs it, or replay
remembers it.

No gradient flows here. Fresh and replayed questions leave by the same door, as scored questions
with token ids; the learner cannot tell them apart and evaluates both with the current policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.replay.base import ReplayStore
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.seeding import python_rng, torch_rng
from contraflow.settings.learning import ExplorationConfig
from contraflow.types import Questions, ScoredQuestion


@dataclass(frozen=True)
class Batch:
    """Scored questions of several facts; question i is about facts[fact_index[i]]."""

    facts: tuple[Fact, ...]
    fact_index: Int[Tensor, " b"]
    questions: Questions
    scored: tuple[ScoredQuestion, ...]
    times: tuple[int, ...]  # how often each was drawn; all 1 where every draw is a row of its own
    pf_temp: float  # temperature they were drawn at (1 for replay)
    n_replayed: int

    @property
    def draws(self) -> Int[Tensor, " n"]:
        """The row of every draw: what a mean over draws is taken over."""
        return torch.repeat_interleave(torch.tensor(self.times, device=self.fact_index.device))


class Experience:
    """Draws, scores and admits; or draws from replay, with probability ``use_buffer_prob``."""

    def __init__(
        self,
        policy: LoraPolicy,
        scorer: Scorer,
        replay: ReplayStore,
        reward: RewardSchedule,
        settings: ExplorationConfig,
        *,
        seed: int,
        rank: int = 0,
    ) -> None:
        self.policy, self.scorer, self.replay, self.reward = policy, scorer, replay, reward
        self.settings, self.seed, self.rank = settings, seed, rank

    def collect(self, facts: Sequence[Fact], step: int, seen: Sequence[Fact] = ()) -> Batch:
        """The batch of a step: new questions about ``facts``, or stored ones about facts already
        ``seen``.

        The same (seed, step, rank, weights, replay) gives the same batch.
        """
        rng = python_rng(self.seed, step, self.rank, "exploration")
        from_replay = rng.random() < self.settings.use_buffer_prob
        tempered = rng.random() < self.settings.pf_temp_prob
        pf_temp = (
            rng.uniform(self.settings.pf_temp_low, self.settings.pf_temp_high) if tempered else 1.0
        )
        if from_replay:
            batch = self._replayed(seen or facts, len(facts), step)
            if batch is not None:
                self.scorer.score(
                    [], step
                )  # ranks that share a scorer ask it together, be it for nothing
                return batch
        return self._fresh(facts, step, pf_temp)

    def _fresh(self, facts: Sequence[Fact], step: int, pf_temp: float) -> Batch:
        rng = torch_rng(self.seed, step, self.rank, "sample", device=self.policy.lm.device)
        drawn = draw(self.policy, facts, self.settings.n_samples, rng, pf_temp)
        scored = self.scorer.score(drawn, step)
        times = Counter((s.fact_id, s.question_ids) for s in scored)
        unique = list({(s.fact_id, s.question_ids): s for s in scored}.values())
        self.replay.add(unique, self.reward.priority(RewardParts.of(unique)).tolist())
        if self.settings.count_repeats:
            return self._batch(facts, scored, [1] * len(scored), pf_temp)
        return self._batch(facts, unique, list(times.values()), pf_temp)

    def _replayed(self, seen: Sequence[Fact], n_facts: int, step: int) -> Batch | None:
        """Stored questions of up to n_facts of these facts, or None where too little is stored to
        learn from.
        """
        rng = python_rng(self.seed, step, self.rank, "replay")
        rows = self.replay.sample([f.fact_id for f in seen], self.settings.n_samples, rng)
        usable = [
            [s for s in row if self.policy.constraints.admits(s.question_ids)] for row in rows
        ]
        found = [s for row in [row for row in usable if len(row) > 1][:n_facts] for s in row]
        if len(found) < self.settings.n_samples:
            return None
        return self._batch(seen, found, [1] * len(found), 1.0, n_replayed=len(found))

    def prefixes(self, batch: Batch, step: int) -> list[list[ScoredQuestion]]:
        """Each question of a batch cut after min_len … L tokens, closed with the stop and scored;
        shortest first.

        Equal prefixes of a fact are answered and judged once; nothing of this is admitted to
        replay.
        """
        least, texts = self.policy.constraints.min_len, self.policy.lm.decode
        cut = [
            [s.question_ids[:n] for n in range(least, len(s.question_ids) + 1)]
            for s in batch.scored
        ]
        owners = [batch.facts[i] for i in batch.fact_index.tolist()]
        drawn = [
            SampledQuestion(fact, ids, texts(ids).strip() + "?")
            for fact, rows in zip(owners, cut, strict=True)
            for ids in rows
        ]
        scored = iter(self.scorer.score(drawn, step))
        return [[next(scored) for _ in rows] for rows in cut]

    def _batch(
        self,
        facts: Sequence[Fact],
        scored: Sequence[ScoredQuestion],
        times: Sequence[int],
        pf_temp: float,
        n_replayed: int = 0,
    ) -> Batch:
        present = {s.fact_id for s in scored}
        used = tuple(f for f in facts if f.fact_id in present)
        place = {f.fact_id: i for i, f in enumerate(used)}
        device = self.policy.lm.device
        index = torch.tensor([place[s.fact_id] for s in scored], device=device)
        questions = stack_questions([s.question_ids for s in scored], device)
        return Batch(used, index, questions, tuple(scored), tuple(times), pf_temp, n_replayed)


def draw(
    policy: LoraPolicy,
    facts: Sequence[Fact],
    n_samples: int,
    rng: torch.Generator,
    temperature: float = 1.0,
) -> list[SampledQuestion]:
    """n questions per fact with their texts, in the order of the facts."""
    questions = policy.sample(facts, n_samples, rng, temperature)
    texts = policy.texts(questions)
    lengths = questions.lengths.tolist()
    rows = [tuple(ids[:n]) for ids, n in zip(questions.ids.tolist(), lengths, strict=True)]
    owners = [fact for fact in facts for _ in range(n_samples)]
    return [SampledQuestion(f, ids, text) for f, ids, text in zip(owners, rows, texts, strict=True)]
