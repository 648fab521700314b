"""The whole job, from a config to a report: setup, baseline, fit, evaluate, report.

The run folder is the only state. The same command started again continues from the last checkpoint;
a finished run is left alone. With several ranks this is rank 0's job; the others do `follower.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import lightning as L
import torch

from contraflow.actors.cluster import joined_cluster
from contraflow.actors.experience import LearnerExperience
from contraflow.distributed.messages import Plan, encode
from contraflow.distributed.ranks import Ranks
from contraflow.errors import UserError
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.report import write_report
from contraflow.evaluation.rollout import rollout
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact, default_facts, read_facts
from contraflow.facts.check import unwritable_note
from contraflow.gflownet.objectives import Objective
from contraflow.policy.adapter import model_card, save_adapter
from contraflow.reward.judge.scores import Judge
from contraflow.reward.schedule import RewardSchedule
from contraflow.run.arguments import check_config
from contraflow.run.build import Parts, assemble
from contraflow.run.encoder import check_encoder
from contraflow.run.facts_source import check_facts_source
from contraflow.run.folder import open_folder, print_summary, record_cost, results_table
from contraflow.run.intact import check_run_files
from contraflow.run.lock import exclusive_lock
from contraflow.run.own_checks import check_own_of_run
from contraflow.run.own_objects import OwnObjects, print_objects
from contraflow.run.replay import open_replay, replay_namespace
from contraflow.run.session import Run
from contraflow.settings import Config, flat, shown_settings
from contraflow.system.budget import Budget
from contraflow.system.files import explain_full_disk, write_atomically
from contraflow.system.progress import Bar, bar, print_line
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.training.actors import close_actors, open_actors
from contraflow.training.callbacks import History, Probes, ReplayOfAll, Validation
from contraflow.training.checkpoints import load_trained, step_of
from contraflow.training.choose_facts import choose_facts
from contraflow.training.evaluation import Evaluation
from contraflow.training.follower import CHECKED, IS_FINISHED, PLAN, run_follower
from contraflow.training.joining import check_facts_go_round, join_ranks, on_own_gpu
from contraflow.training.loggers import close_loggers, loggers_for, wandb_run_id
from contraflow.training.publishing import Publishing
from contraflow.training.questions_now import N_QUESTIONS, QuestionsNow
from contraflow.training.rank import (
    Learner,
    fact_stream,
    on_policy_note,
    prefix_cost,
    record_memory,
    sampler_module,
    trainer_for,
)
from contraflow.training.stopping import GracefulStop, Interrupted, interruption

__all__ = ["Interrupted", "train"]


def train(
    config: Config,
    started: float | None = None,
    *,
    judge: Judge | None = None,
    objective: Objective | None = None,
    reward: RewardSchedule | None = None,
) -> Path:
    """Run or resume a training run; returns its folder.

    A process that a launcher has started as one of several ranks does the work of its rank.

    Args:
        started: the value of `time.monotonic` from which `trainer.max_time` counts; None is now.
        judge: in place of the config's; its scores are kept under its `identity`.
        objective: in place of the config's; the forward KL of the config stays beside it.
        reward: in place of the config's; priorities in replay are kept under its `identity`.
    Raises: UserError for anything the user can mend; Interrupted after Ctrl-C, SIGTERM or the end
        of `trainer.max_time`.
    """
    check_config("train", config)
    own = OwnObjects(judge, objective, reward)
    check_own_of_run(own, config)
    budget = Budget(config.trainer.max_time, started)
    config, ranks = join_ranks(config)
    try:
        if not ranks.is_first:
            return run_follower(config, ranks, budget, own)
        with exclusive_lock(Path(config.run_dir)):
            return _run_first(config, ranks, budget, own)
    finally:
        ranks.close()


def _run_first(config: Config, ranks: Ranks, budget: Budget, own: OwnObjects) -> Path:
    started = time.monotonic()
    # Bad templates are refused before any model loads.
    task_prompt(config.prompt.task)
    answer_prompt(config.prompt.answer)
    facts = default_facts() if config.data.facts is None else read_facts(config.data.facts)
    folder = open_folder(config, own)
    check_facts_source(config, folder, facts)
    finished = (folder / "finished").is_file()
    ranks.broadcast(bytes([finished]), IS_FINISHED)
    if finished:
        print_line(f"{folder} is a finished run; its report is {folder / 'report.html'}")
        print_line("To train anew choose another name=…, or delete the folder")
        return folder
    check_facts_go_round(config, facts, ranks)
    check_run_files(folder)
    if config.logger.wandb != "disabled":
        wandb_run_id(folder)
    check_encoder(config)
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    with joined_cluster(config):
        ranks.broadcast(encode(own.shown), CHECKED)
        _run_stages(_Job(config, folder, facts, ranks, own), budget, started)
    record_cost(folder, time.monotonic() - started)
    report = write_report(folder)
    (folder / "finished").touch()
    print_summary(folder, report)
    return folder


def _run_stages(job: _Job, budget: Budget, started: float) -> None:
    """Measure, train, measure again; what an error has cost is recorded too."""
    try:
        with explain_full_disk(job.folder):
            job.before()
            job.fit(budget)
            job.after()
    except BaseException:
        # The error that ended the run is reported, not a second one from recording its cost.
        with suppress(UserError):
            record_cost(job.folder, time.monotonic() - started)
        raise
    finally:
        job.replay.close()


class _Job:
    """One run on rank 0: its parts, its facts and its stages."""

    def __init__(
        self, config: Config, folder: Path, facts: Sequence[Fact], ranks: Ranks, own: OwnObjects
    ) -> None:
        self.config = config
        self.own = own
        self.folder = folder
        self.ranks = ranks
        print_line(f"[bold]{config.name}[/]: preparing models ({config.model.name})")
        print_objects(own)
        self.parts = assemble(on_own_gpu(config, ranks), adapter=None, own=own)
        self.untrained = Run.of("before", self.parts)
        # A fact that does not fit is refused before anything slow.
        self.untrained.check_facts(facts)
        if note := unwritable_note(facts, config.policy.vocabulary):
            print_line(f"note: {note}")
        self.facts = choose_facts(config, folder, facts, self.untrained.oracle)
        self.evaluation = Evaluation(folder, self.untrained, self.facts)
        self._trainable: Parts | None = None
        run = self.untrained
        self.namespace = replay_namespace(
            config, run.policy, run.oracle, run.judge, folder, own.reward
        )
        self.replay = open_replay(
            config, self.namespace, folder, facts=self.facts.train, reward=own.reward
        )

    @property
    def trainable(self) -> Parts:
        """The parts with a fresh adapter, added after the untrained sampler was measured."""
        if self._trainable is None:
            self._trainable = self.parts.with_fresh_adapter()
        return self._trainable

    def before(self) -> None:
        """Measure the untrained sampler on the test facts, with our prompt and the prototype's."""
        self.evaluation.before()

    def fit(self, budget: Budget) -> None:
        """Train, from the last checkpoint where there is one."""
        config = self.config
        last = self.folder / "checkpoints" / "last.ckpt"
        self._broadcast_plan(last)
        facts = self.facts.train
        learner = Learner(config, self.trainable, self.ranks, self.replay, facts, self.own)
        stream = fact_stream(learner)
        actors = open_actors(learner, self.namespace)
        module = sampler_module(learner, actors)
        if module.objective.needs_prefix_rewards and config.objective.has_balance:
            print_line(prefix_cost(learner))
        if module.objective.on_policy:
            print_line(on_policy_note(learner))
        done = step_of(last)
        if done:
            print_line(f"resuming from step {done} of {config.trainer.n_steps} ({last})")
        progress_bars: list[Bar] = []
        stop = GracefulStop(last, config.trainer.checkpoint_every, self.ranks, budget)
        trainer = self._trainer(learner, stop, lambda: next(iter(progress_bars), None), actors)
        failed = True
        try:
            with bar("training", config.trainer.n_steps, done) as progress:
                progress_bars.append(progress)
                resume_from = str(last) if done else None
                trainer.fit(module, stream, ckpt_path=resume_from, weights_only=True)
            failed = False
        finally:
            stop.restore()
            if actors is not None:
                close_actors(actors, self.folder)
            close_loggers(config, failed=failed)
        if stop.why:
            raise interruption(stop.why, trainer.global_step, config, last)
        if self.ranks.size > 1:
            record_memory(learner, self.folder / "ranks.json")

    def _broadcast_plan(self, last: Path) -> None:
        """Send the other ranks what they need to start: facts, replay and the checkpoint."""
        url = getattr(self.replay, "url", None)  # where the embedded store's server listens
        checkpoint = last.read_bytes() if last.is_file() and self.ranks.size > 1 else b""
        plan = Plan(tuple(self.facts.train), self.namespace, url, checkpoint)
        self.ranks.broadcast(encode(plan), PLAN)

    def _trainer(
        self,
        learner: Learner,
        stop: GracefulStop,
        progress: Callable[[], Bar | None],
        actors: LearnerExperience | None,
    ) -> L.Trainer:
        config = self.config
        folder = self.folder
        history = folder / "history.jsonl"
        reward = self.parts.reward
        validation = Validation(
            history,
            config.trainer.validate_every,
            self._validate,
            config.trainer.best_by,
            reward.temperature(reward.final_step),
        )
        probes = Probes(folder / "probes.jsonl", config.trainer.probe_every)
        gather = ReplayOfAll(config.trainer.validate_every)
        callbacks = [History(history, progress), gather, validation, probes, stop]
        if config.trainer.show_after:
            before = folder / "evaluation" / "before_questions.jsonl"
            shown = QuestionsNow(self.facts.test, before, config.trainer.show_after, self._ask)
            callbacks.insert(-1, shown)
        if actors is not None:
            callbacks.insert(0, Publishing(actors))
        return trainer_for(learner, folder, callbacks, loggers_for(config, folder))

    def _validate(self, _step: int) -> list[QuestionRecord]:
        """Sample on the validation facts under the final, untempered composite reward."""
        return self._sample(self.facts.validation, self.config.exploration.n_samples)

    def _ask(self, facts: Sequence[Fact], _step: int) -> list[QuestionRecord]:
        return self._sample(facts, N_QUESTIONS)

    def _sample(self, facts: Sequence[Fact], n_samples: int) -> list[QuestionRecord]:
        parts = self.trainable
        untempered = replace(parts.reward, reward_temp_end=1.0, reward_temp_start=1.0)
        return list(
            rollout(
                parts.policy,
                Scorer(parts.policy, parts.oracle, parts.judge),
                untempered,
                facts,
                n_samples=n_samples,
                step=untempered.final_step,
                seed=self.config.seed,
            )
        )

    def after(self) -> None:
        """Keep the best adapter, and measure it on the same test facts with the same draws."""
        base_model = self.config.model.name
        policy = self.trainable.policy
        settings = flat(shown_settings(self.config)) | self.own.settings
        card = model_card(base_model, settings, "See `../report.html`.")
        for name, folder in (("last", "adapter_last"), ("best", "adapter")):
            checkpoint = self.folder / "checkpoints" / f"{name}.ckpt"
            if checkpoint.is_file():
                load_trained(policy, checkpoint)
            save_adapter(policy, self.folder / folder, base_model, card)
        if self.config.evaluation.enabled:
            self.evaluation.after(policy)
            card = model_card(base_model, settings, results_table(self.folder))
            write_atomically(self.folder / "adapter" / "README.md", card.encode())
