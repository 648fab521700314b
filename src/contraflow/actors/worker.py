"""The work of one actor, whatever runs it: sample with a version, score, admit, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from contraflow.actors.messages import Assignment, Collected
from contraflow.actors.weights import load_weights
from contraflow.experience.collect import Experience
from contraflow.experience.density import DrawnBatch, log_density
from contraflow.experience.scorer import Scorer
from contraflow.experience.stream import FactStream
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.base import ReplayStore
from contraflow.reward.schedule import RewardSchedule
from contraflow.settings.learning import ExplorationConfig


class Worker:
    """A sampler, its scorer, and the replay that its questions go to.

    facts: all training facts. An assignment's number selects ``facts_per_step`` of them, epoch
        after epoch, so that actors share the facts however many they are.
    """

    def __init__(
        self,
        policy: LoraPolicy,
        scorer: Scorer,
        replay: ReplayStore,
        reward: RewardSchedule,
        settings: ExplorationConfig,
        facts: Sequence[Fact],
        *,
        facts_per_step: int,
        seed: int,
        sends_density: bool = False,
    ) -> None:
        fresh_only = replace(settings, use_buffer_prob=0.0)
        self.experience = Experience(policy, scorer, replay, reward, fresh_only, seed=seed)
        self.sends_density = sends_density
        self.version: int | None = None
        self._stream = FactStream(facts, facts_per_step, n_steps=0, seed=seed)

    def load(self, version: int, weights: bytes) -> None:
        """Sample with another version of the adapter from now on."""
        load_weights(self.experience.policy, weights)
        self.version = version

    def collect(self, assignment: Assignment) -> Collected:
        """Do an assignment: the same number, step and weights always sample the same questions.

        Raises: ValueError for an assignment with another version than the loaded one.
        """
        if assignment.version != self.version:
            raise ValueError(f"version {self.version} is loaded, {assignment.version} was assigned")
        # Random streams are derived from (seed, step, rank); steps are shared, numbers are not.
        self.experience.rank = assignment.number
        facts = self._stream.at(assignment.number).facts
        batch = self.experience.collect(facts, assignment.step)
        log_q: tuple[float, ...] = ()
        if self.sends_density:
            log_q = tuple(log_density(batch, None, self.experience.policy).tolist())
        return Collected(assignment, DrawnBatch.of(batch, log_q))
