"""The batch of a step: questions sampled, scored and admitted to replay, or read back from replay.

The learner cannot tell the two apart: both arrive as scored questions with token ids, and both are
evaluated with the current policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy, fact_index_of, stack_questions
from contraflow.replay.base import ReplayStore
from contraflow.reward.schedule import RewardParts, RewardSchedule
from contraflow.seeding import python_rng, torch_rng
from contraflow.settings.learning import ExplorationConfig
from contraflow.types import Questions, ScoredQuestion


@dataclass(frozen=True)
class Batch:
    """b scored questions of several facts.

    The fields are plain data, so that ranks can send a batch as MessagePack; the tensors are built
    on ``device`` when they are first read.
    """

    facts: tuple[Fact, ...]
    scored: tuple[ScoredQuestion, ...]
    counts: tuple[
        int, ...
    ]  # how often each was sampled; all 1 where every draw is a row of its own
    pf_temp: float  # sampling temperature (1 for replay)
    n_replayed: int
    device: str

    @cached_property
    def fact_index(self) -> Int[Tensor, " b"]:
        """Question i is about ``facts[fact_index[i]]``."""
        return fact_index_of(self.facts, [s.fact_key for s in self.scored], self.device)

    @cached_property
    def questions(self) -> Questions:
        """The token ids of all questions."""
        return stack_questions([s.question_ids for s in self.scored], self.device)

    @property
    def draws(self) -> Int[Tensor, " n"]:
        """The row of every draw: means over draws index with it."""
        return torch.repeat_interleave(torch.tensor(self.counts, device=self.device))


class Experience:
    """Sample, score and admit; with probability ``use_buffer_prob`` sample from replay instead."""

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
        self.policy = policy
        self.scorer = scorer
        self.replay = replay
        self.reward = reward
        self.settings = settings
        self.seed = seed
        self.rank = rank

    def collect(self, facts: Sequence[Fact], step: int, seen: Sequence[Fact] = ()) -> Batch:
        """Return the batch of a step: new questions about ``facts``, or stored ones about ``seen``.

        ``seen`` are facts of earlier steps. The batch is a function of (seed, step, rank, weights,
        replay).
        """
        rng = python_rng(self.seed, step, self.rank, "exploration")
        from_replay = rng.random() < self.settings.use_buffer_prob
        tempered = rng.random() < self.settings.pf_temp_prob
        pf_temp = 1.0
        if tempered:
            pf_temp = rng.uniform(self.settings.pf_temp_low, self.settings.pf_temp_high)
        if from_replay:
            batch = self._replayed(seen or facts, len(facts), step)
            if batch is not None:
                # Collective where ranks share a scorer: the others may have questions.
                self.scorer.score([], step)
                return batch
        return self._fresh(facts, step, pf_temp)

    def _fresh(self, facts: Sequence[Fact], step: int, pf_temp: float) -> Batch:
        rng = torch_rng(self.seed, step, self.rank, "sample", device=self.policy.lm.device)
        sampled = sample_questions(self.policy, facts, self.settings.n_samples, rng, pf_temp)
        scored = self.scorer.score(sampled, step)
        counts = Counter((s.fact_key, s.question_ids) for s in scored)
        unique = list({(s.fact_key, s.question_ids): s for s in scored}.values())
        self.replay.add(unique, self.reward.priority(RewardParts.of(unique)).tolist())
        if self.settings.count_repeats:
            return self._batch(facts, scored, [1] * len(scored), pf_temp)
        return self._batch(facts, unique, list(counts.values()), pf_temp)

    def _replayed(self, seen: Sequence[Fact], n_facts: int, step: int) -> Batch | None:
        """Return stored questions of up to n_facts facts, or None when too few are stored."""
        rng = python_rng(self.seed, step, self.rank, "replay")
        rows = self.replay.sample([f.key for f in seen], self.settings.n_samples, rng)
        found: list[ScoredQuestion] = []
        n_found = 0
        for row in rows:
            usable = [s for s in row if self.policy.constraints.admits(s.question_ids)]
            # A fact with one question has no differences to learn from.
            if len(usable) > 1 and n_found < n_facts:
                found += usable
                n_found += 1
        if len(found) < self.settings.n_samples:
            return None
        return self._batch(seen, found, [1] * len(found), 1.0, n_replayed=len(found))

    def prefixes(self, batch: Batch, step: int) -> list[list[ScoredQuestion]]:
        """Score every prefix of a batch's questions as a question of its own.

        Returns for each question its prefixes of min_len … L tokens, shortest first, each closed
        with the stop. Equal prefixes of a fact are scored once; none of them enters replay.
        """
        shortest = self.policy.constraints.min_len
        sampled: list[SampledQuestion] = []
        n_prefixes: list[int] = []
        for scored, fact_index in zip(batch.scored, batch.fact_index.tolist(), strict=True):
            lengths = range(shortest, len(scored.question_ids) + 1)
            n_prefixes.append(len(lengths))
            for length in lengths:
                ids = scored.question_ids[:length]
                text = self.policy.question_text(ids)
                sampled.append(SampledQuestion(batch.facts[fact_index], ids, text))
        prefixes = iter(self.scorer.score(sampled, step))
        return [[next(prefixes) for _ in range(n)] for n in n_prefixes]

    def _batch(
        self,
        facts: Sequence[Fact],
        scored: Sequence[ScoredQuestion],
        counts: Sequence[int],
        pf_temp: float,
        n_replayed: int = 0,
    ) -> Batch:
        present = {s.fact_key for s in scored}
        used = tuple(f for f in facts if f.key in present)
        device = str(self.policy.lm.device)
        return Batch(used, tuple(scored), tuple(counts), pf_temp, n_replayed, device)


def sample_questions(
    policy: LoraPolicy,
    facts: Sequence[Fact],
    n_samples: int,
    rng: torch.Generator,
    temperature: float = 1.0,
) -> list[SampledQuestion]:
    """Sample n questions per fact; questions of one fact are adjacent, facts in their order."""
    questions = policy.sample(facts, n_samples, rng, temperature)
    owners = [fact for fact in facts for _ in range(n_samples)]
    rows = policy.token_rows(questions)
    return [
        SampledQuestion(fact, ids, policy.question_text(ids))
        for fact, ids in zip(owners, rows, strict=True)
    ]
