"""The batch of a step: questions sampled, scored and admitted to replay, or read back from replay.

The learner cannot tell the two apart: both arrive as scored questions with token ids, and both are
evaluated with the current policy.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from contraflow.experience.draws import draw_weighted, sample_questions
from contraflow.experience.replayed import StoredDraw, draw_stored
from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import Fact
from contraflow.models.transfer import to_device
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.replay.base import ReplayStore
from contraflow.reward.schedule import RewardSchedule, priorities
from contraflow.seeding import python_rng, torch_rng
from contraflow.settings.learning import ExplorationConfig
from contraflow.settings.running import ReplayConfig
from contraflow.types import Questions, ScoredQuestion

__all__ = ["Batch", "Experience", "sample_questions"]


@dataclass(frozen=True)
class Batch:
    """b scored questions of several facts.

    The fields are plain data, so that ranks can send a batch as MessagePack; the tensors are built
    on ``device`` when they are first read.
    """

    facts: tuple[Fact, ...]
    scored: tuple[ScoredQuestion, ...]
    # how often each was sampled in this step; all 1 where every draw is a row of its own, 0 for
    # stored questions beside new ones
    counts: tuple[int, ...]
    pf_temp: float  # sampling temperature (1 for replay)
    n_replayed: int
    device: str
    # share of each row in means over the distribution sampled; None: its count over the draws
    weights: tuple[float, ...] | None = None
    # the loss uses the weights; otherwise all rows weigh the same
    weighs_loss: bool = False
    prior_share: float = 0.0  # share of the prior in the distribution sampled

    @cached_property
    def owners(self) -> tuple[int, ...]:
        """Question i is about ``facts[owners[i]]``."""
        position = {fact.key: i for i, fact in enumerate(self.facts)}
        return tuple(position[s.fact_key] for s in self.scored)

    @cached_property
    def fact_index(self) -> Int[Tensor, " b"]:
        """`owners` on the device."""
        return to_device(torch.tensor(self.owners), self.device)

    @cached_property
    def questions(self) -> Questions:
        """The token ids of all questions, in host memory."""
        return stack_questions([s.question_ids for s in self.scored], "cpu")

    @cached_property
    def weight(self) -> Float[Tensor, " b"]:
        """Share of each row in means over the distribution sampled; 1 for every row of replay."""
        shares = self.counts if self.weights is None else self.weights
        return to_device(torch.tensor(shares, dtype=torch.float32), self.device)

    @property
    def loss_weight(self) -> Float[Tensor, " b"] | None:
        """`weight`, or None where every row weighs the same in the loss."""
        return self.weight if self.weighs_loss else None

    @property
    def draws(self) -> Int[ndarray, " n"]:
        """The row of every draw: means over draws index with it."""
        return np.repeat(np.arange(len(self.scored)), self.counts)


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
        replay_settings: ReplayConfig | None = None,
    ) -> None:
        self.policy = policy
        self.scorer = scorer
        self.replay = replay
        self.reward = reward
        self.settings = settings
        self.seed = seed
        self.rank = rank
        self.replay_settings = replay_settings or ReplayConfig()

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
        stored = self._stored(facts, step)
        return _beside(self._fresh(facts, step, pf_temp), stored)

    def _stored(self, facts: Sequence[Fact], step: int) -> list[ScoredQuestion]:
        """Return up to ``n_stored`` questions of each fact that replay held before this step."""
        n = self.settings.n_stored
        if not n:
            return []
        rng = python_rng(self.seed, step, self.rank, "stored beside new")
        rows = self.replay.sample([fact.key for fact in facts], n, rng)
        admits = self.policy.constraints.admits
        return [s for row in rows for s in row if admits(s.question_ids)]

    def _fresh(self, facts: Sequence[Fact], step: int, pf_temp: float) -> Batch:
        rng = torch_rng(self.seed, step, self.rank, "sample", device=self.policy.lm.device)
        if self.settings.distinct or self.settings.n_prior:
            return self._fresh_weighted(facts, step, pf_temp, rng)
        sampled = sample_questions(self.policy, facts, self.settings.n_samples, rng, pf_temp)
        scored = self.scorer.score(sampled, step)
        counts = Counter((s.fact_key, s.question_ids) for s in scored)
        unique = list({(s.fact_key, s.question_ids): s for s in scored}.values())
        self.replay.add(unique, priorities(self.reward, unique))
        if self.settings.count_repeats:
            return self._batch(facts, scored, [1] * len(scored), pf_temp)
        return self._batch(facts, unique, list(counts.values()), pf_temp)

    def _fresh_weighted(
        self, facts: Sequence[Fact], step: int, pf_temp: float, rng: torch.Generator
    ) -> Batch:
        settings = self.settings
        draws = draw_weighted(self.policy, facts, settings, rng, pf_temp)
        scored = self.scorer.score([draw.question for draw in draws], step)
        self.replay.add(scored, priorities(self.reward, scored))
        is_weighted = settings.distinct_weights != "equal"
        return replace(
            self._batch(facts, scored, [draw.count for draw in draws], pf_temp),
            weights=tuple(draw.weight for draw in draws),
            weighs_loss=is_weighted if settings.distinct else settings.count_repeats,
            prior_share=settings.n_prior / settings.n_samples,
        )

    @property
    def _least(self) -> int:
        """How many stored questions of a fact can be learned from.

        One has no differences to others; a run that draws one learns from its level alone.
        """
        return min(2, self.settings.n_samples)

    def _enough(self, n_facts: int) -> int:
        """How many stored questions make a step: n, or all that may be stored of its facts."""
        return min(self.settings.n_samples, n_facts * self.replay_settings.capacity_per_fact)

    def _replayed(self, seen: Sequence[Fact], n_facts: int, step: int) -> Batch | None:
        """Return stored questions of up to n_facts facts, or None when too few are stored."""
        rng = python_rng(self.seed, step, self.rank, "replay")
        if self.settings.correct_replay:
            return self._replayed_weighted(seen, n_facts, rng)
        rows = self.replay.sample([f.key for f in seen], self.settings.n_samples, rng)
        found: list[ScoredQuestion] = []
        n_found = 0
        for row in rows:
            usable = [s for s in row if self.policy.constraints.admits(s.question_ids)]
            if len(usable) >= self._least and n_found < n_facts:
                found += usable
                n_found += 1
        if len(found) < self._enough(n_facts):
            return None
        return self._batch(seen, found, [1] * len(found), 1.0, n_replayed=len(found))

    def _replayed_weighted(
        self, seen: Sequence[Fact], n_facts: int, rng: random.Random
    ) -> Batch | None:
        """Like `_replayed`, from all that is stored of a fact, weighted to a mean over it."""
        stored = self.replay.sample(
            [f.key for f in seen], self.replay_settings.capacity_per_fact, rng
        )
        draws: list[StoredDraw] = []
        n_found = 0
        for row in stored:
            usable = [s for s in row if self.policy.constraints.admits(s.question_ids)]
            if len(usable) >= self._least and n_found < n_facts:
                worth = priorities(self.reward, usable)
                n = self.settings.n_samples
                draws += draw_stored(usable, worth, n, rng, self.replay_settings)
                n_found += 1
        if len(draws) < self._enough(n_facts):
            return None
        scored = [draw.scored for draw in draws]
        batch = self._batch(seen, scored, [1] * len(scored), 1.0, n_replayed=len(scored))
        return replace(batch, weights=tuple(draw.weight for draw in draws), weighs_loss=True)

    def prefixes(self, batch: Batch, step: int) -> list[list[ScoredQuestion]]:
        """Score every prefix of a batch's questions as a question of its own.

        Returns for each question its prefixes of min_len … L tokens, shortest first, each closed
        with the stop. Equal prefixes of a fact are scored once; none of them enters replay.
        """
        shortest = self.policy.constraints.min_len
        sampled: list[SampledQuestion] = []
        n_prefixes: list[int] = []
        for scored, owner in zip(batch.scored, batch.owners, strict=True):
            lengths = range(shortest, len(scored.question_ids) + 1)
            n_prefixes.append(len(lengths))
            for length in lengths:
                ids = scored.question_ids[:length]
                text = self.policy.question_text(ids)
                sampled.append(SampledQuestion(batch.facts[owner], ids, text))
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


def _beside(batch: Batch, stored: Sequence[ScoredQuestion]) -> Batch:
    """Add stored questions to a batch of new ones, but for those that were sampled again.

    Where questions are weighted, the loss is a mean over the mixture: of a fact's n new and k
    stored questions, the new ones have the share n / (n + k).
    """
    new = {(s.fact_key, s.question_ids) for s in batch.scored}
    others = [s for s in stored if (s.fact_key, s.question_ids) not in new]
    if not others:
        return batch
    weights = None
    if batch.weights is not None:
        n_new: Counter[str] = Counter()
        for s, count in zip(batch.scored, batch.counts, strict=True):
            n_new[s.fact_key] += count
        n_all = n_new + Counter(s.fact_key for s in others)
        rows = zip(batch.scored, batch.weights, strict=True)
        weights = tuple(w * n_new[s.fact_key] / n_all[s.fact_key] for s, w in rows)
        weights += tuple(1 / n_all[s.fact_key] for s in others)
    return replace(
        batch,
        scored=(*batch.scored, *others),
        counts=(*batch.counts, *[0] * len(others)),
        n_replayed=len(others),
        weights=weights,
    )
