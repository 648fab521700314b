"""A training step on packaged models in two ways: the package's and the straightforward one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.clock import Clock
from benchmarks.straightforward import Rows
from benchmarks.straightforward_models import packaged_pipeline
from contraflow import Fact
from contraflow.experience.collect import Experience
from contraflow.experience.scorer import Scorer
from contraflow.gflownet.objectives import potentials
from contraflow.replay.memory import MemoryReplay
from contraflow.reward.schedule import RewardParts
from contraflow.run import build
from contraflow.run.learning import build_objective
from contraflow.settings import Config
from contraflow.settings.learning import ExplorationConfig
from contraflow.settings.running import ReplayConfig
from contraflow.text.questions import question_ok

PHASES = ("sample", "answer", "judge", "prior", "learn")


class Ours:
    """The package's own parts, as a training run uses them, without run folder and trainer."""

    def __init__(self, config: Config) -> None:
        lm = build.load_lm(config)
        self.oracle = build.load_oracle(config, lm)
        self.judge = build.load_judge(config)
        self.policy = build.load_policy(config, lm)
        self.reward = build.build_reward(config)
        self.objective = build_objective(config)
        self.scorer = Scorer(self.policy, self.oracle, self.judge)
        settings = ExplorationConfig(
            config.exploration.n_samples, pf_temp_prob=0.0, use_buffer_prob=0.0
        )
        replay = MemoryReplay("benchmark", ReplayConfig())
        self.experience = Experience(
            self.policy, self.scorer, replay, self.reward, settings, seed=config.seed
        )
        trained = [p for p in self.policy.lm.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=config.optimizer.lr)

    def step(self, facts: Sequence[Fact], number: int, clock: Clock) -> None:
        """One optimizer step on these facts."""
        policy: Any = self.policy
        _time_calls(policy, "sample", clock, "sample")
        _time_calls(policy, "prior", clock, "prior")
        _time_calls(self.oracle, "answer", clock, "answer")
        _time_calls(self.judge, "score", clock, "judge")
        batch = self.experience.collect(facts, number)
        with clock.phase("learn"):
            reward = self.reward(RewardParts.of(batch.scored, policy.lm.device), number)
            paths = policy.evaluate(batch.facts, batch.fact_index, batch.questions)
            self.objective(potentials(paths, reward), batch.fact_index).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()


def _time_calls(owner: Any, method: str, clock: Clock, phase: str) -> None:
    """Replace a method of one object by the same method as a timed phase."""
    call: Callable[..., Any] = getattr(type(owner), method).__get__(owner)

    def timed(*args: Any, **kwargs: Any) -> Any:
        with clock.phase(phase):
            return call(*args, **kwargs)

    setattr(owner, method, timed)


@dataclass(frozen=True)
class FactStep:
    """One fact's part of a straightforward step, to compare with the package's numbers."""

    ids: Rows
    texts: list[str]
    answers: list[str]
    log_p_answer: Tensor
    log_p_question: Tensor
    log_pf: Tensor
    log_contradiction: Tensor


class StraightforwardSteps:
    """The straightforward pipeline, one fact at a time because its memory grows with the batch."""

    def __init__(self, config: Config) -> None:
        self.pipeline = packaged_pipeline(config)
        self.reward = build.build_reward(config)
        self.objective = build_objective(config)
        self.n_samples = config.exploration.n_samples

    def step(self, facts: Sequence[Fact], number: int, clock: Clock) -> list[FactStep]:
        """One optimizer step on these facts."""
        done = [self._step_on(fact, number, 1 / len(facts), clock) for fact in facts]
        with clock.phase("learn"):
            self.pipeline.update()
        return done

    def _step_on(self, fact: Fact, number: int, weight: float, clock: Clock) -> FactStep:
        pipeline = self.pipeline
        about = [fact] * self.n_samples
        prompts = pipeline.task_prompts([fact], self.n_samples)
        with clock.phase("sample"):
            ids = pipeline.sample(prompts)
        texts = pipeline.question_texts(ids)
        answer_prompts = pipeline.answer_prompts(texts)
        with clock.phase("answer"):
            answer_ids = pipeline.answer(answer_prompts)
            answers = pipeline.answer_texts(answer_ids)
            log_p_answer = pipeline.log_p_answer(answer_prompts, answer_ids)
        with clock.phase("judge"):
            log_c, log_e = pipeline.judge(about, answers)
        with clock.phase("prior"):
            log_p_question = pipeline.prior(prompts, ids).log_p_question
        with clock.phase("learn"):
            sound = [_is_sound(text, fact) for text in texts]
            parts = RewardParts(log_c, log_p_question, log_p_answer, log_e, torch.tensor(sound))
            log_reward = self.reward(parts, number).log_reward
            paths, _ = pipeline.learn(prompts, ids, log_reward, self.objective, 1, weight=weight)
        log_pf = paths.log_p_question.detach()
        return FactStep(ids, texts, answers, log_p_answer, log_p_question, log_pf, log_c)


def _is_sound(text: str, fact: Fact) -> bool:
    return question_ok(text, fact.subject, fact.original_answer, fact.edited_answer, fact.aliases)
