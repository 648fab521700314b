"""The whole job, from a config to a report: setup → baseline → fit → evaluate → report.

The run folder is the only state. The same command started again goes on from the last checkpoint; a
finished run says so and is left alone. With several ranks this is rank 0's job; `follower.py` is
what the others do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import lightning as L
import torch

from contraflow.distributed.messages import Plan, encode
from contraflow.distributed.ranks import Ranks
from contraflow.errors import UserError
from contraflow.evaluation.metrics import write_metrics
from contraflow.evaluation.records import QuestionRecord, write_records
from contraflow.evaluation.report import write_report
from contraflow.evaluation.rollout import rollout
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact, default_facts, read_facts, split_facts, write_facts
from contraflow.facts.known import known_facts
from contraflow.policy.adapter import model_card, save_adapter
from contraflow.policy.lora import LoraPolicy
from contraflow.replay.base import ReplayStore
from contraflow.run import build
from contraflow.run.folder import open_folder, print_summary, record_cost, results_table
from contraflow.run.lock import exclusive_lock
from contraflow.run.session import Run
from contraflow.seeding import python_rng
from contraflow.settings import Config, flat, shown_settings
from contraflow.system.budget import Budget
from contraflow.system.files import explain_full_disk, write_atomically
from contraflow.system.progress import Bar, bar, say
from contraflow.text.match import mentions
from contraflow.text.prompts import answer_prompt, task_prompt
from contraflow.training.callbacks import GracefulStop, History, Probes, Validation
from contraflow.training.checkpoints import load_trained, step_of
from contraflow.training.follower import (
    IS_FINISHED,
    PLAN,
    Interrupted,
    follow,
    join_ranks,
    on_own_gpu,
    stopped,
)
from contraflow.training.loggers import loggers_for
from contraflow.training.rank import (
    Parts,
    facts_of_rank,
    prefix_cost,
    record_memory,
    sampler_module,
    trainer_for,
)

__all__ = ["Interrupted", "train"]

SUBJECT_ONLY_PROMPT = "Generate a question about {subject}:\nQuestion:"


def train(config: Config, started: float | None = None) -> Path:
    """Run or resume a training run; returns its folder.

    Where a launcher has made this process one of several ranks, it plays that rank's part.
    `trainer.max_time` counts from ``started``, a moment of `time.monotonic`; from now where none is
    given.

    Raises: UserError for anything the user can mend; Interrupted after Ctrl-C, SIGTERM or the end
    of that time.
    """
    budget = Budget(config.trainer.max_time, started)
    config, ranks = join_ranks(config)
    try:
        if not ranks.is_first:
            return follow(config, ranks, budget)
        with exclusive_lock(Path(config.run_dir)):
            return _lead(config, ranks, budget)
    finally:
        ranks.close()


def _lead(config: Config, ranks: Ranks, budget: Budget) -> Path:
    started = time.monotonic()
    (
        task_prompt(config.prompt.task),
        answer_prompt(config.prompt.answer),
    )  # refuse bad templates early
    facts = default_facts() if config.data.facts is None else read_facts(config.data.facts)
    folder = open_folder(config)
    finished = (folder / "finished").is_file()
    ranks.broadcast(bytes([finished]), IS_FINISHED)
    if finished:
        say(f"{folder} is a finished run; its report is {folder / 'report.html'}")
        say("To train anew choose another name=…, or delete the folder")
        return folder
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    job = _Job(config, folder, facts, ranks)
    try:
        with explain_full_disk(folder):
            job.before()
            job.fit(budget)
            job.after()
    except BaseException:
        with suppress(
            UserError
        ):  # what ended the run is told, not that its cost could not be noted either
            record_cost(folder, time.monotonic() - started)
        raise
    finally:
        job.replay.close()
    record_cost(folder, time.monotonic() - started)
    report = write_report(folder)
    (folder / "finished").touch()
    print_summary(folder, report)
    return folder


class _Job:
    """The parts of one run, built once."""

    def __init__(self, config: Config, folder: Path, facts: Sequence[Fact], ranks: Ranks) -> None:
        self.config, self.folder, self.ranks = config, folder, ranks
        say(f"[bold]{config.name}[/]: preparing models ({config.model.name})")
        lm = build.load_lm(on_own_gpu(config, ranks))
        self.oracle, self.judge = build.load_oracle(config, lm), build.load_judge(config)
        self.untrained = build.load_policy(config, lm, with_adapter=False)
        self.untrained.encode(
            facts
        )  # a fact that does not fit the context is refused before anything slow
        self.train_facts, self.validation_facts, self.test_facts = self._split(facts)
        self.reward = build.build_reward(config)
        self.lm = lm
        self._policy: LoraPolicy | None = None
        self.namespace = build.replay_namespace(config, self.untrained, self.oracle, self.judge)
        self.replay: ReplayStore = build.open_replay(config, self.namespace, folder)

    def _split(self, facts: Sequence[Fact]) -> tuple[list[Fact], list[Fact], list[Fact]]:
        """Training, validation and test facts: known to the oracle where asked, in a derived order,
        capped.
        """
        splits, data = split_facts(list(facts)), self.config.data
        parts = {
            "train": (splits.train, data.max_train_facts),
            "validation": (splits.validation, data.max_validation_facts),
            "test": ((*splits.test, *splits.test_relations), data.max_test_facts),
        }
        chosen = {name: self._choose(name, list(part), cap) for name, (part, cap) in parts.items()}
        for name, part in chosen.items():
            if not part:
                raise UserError(
                    f"no {name} facts are left of {len(facts)}; give more facts, or data.filter_known=false "
                    "(the oracle may know none of them)"
                )
        return chosen["train"], chosen["validation"], chosen["test"]

    def _choose(self, name: str, facts: list[Fact], cap: int | None) -> list[Fact]:
        saved = self.folder / f"{name}_facts.jsonl"
        if saved.is_file():  # a resumed run goes on with the facts that it started with
            return read_facts(saved)
        facts = [f for f in facts if not self._is_shown(f)]
        python_rng(self.config.seed, "facts", name).shuffle(facts)
        chosen = self._known(name, facts, cap) if self.config.data.filter_known else facts[:cap]
        if chosen:
            write_facts(saved, chosen)
        return chosen

    def _is_shown(self, fact: Fact) -> bool:
        """Whether a few-shot header gives the fact's subject away: no measure of anything learned."""
        headers = (
            task_prompt(self.config.prompt.task).header,
            answer_prompt(self.config.prompt.answer).header,
        )
        return any(mentions(header, fact.subject) for header in headers)

    def _known(self, name: str, facts: list[Fact], cap: int | None) -> list[Fact]:
        """The first ``cap`` known facts; asks no further than needed."""
        known: list[Fact] = []
        total = min(cap or len(facts), len(facts))
        asked = 0
        with bar(f"{name} facts that the oracle knows", total) as progress:
            for start in range(0, len(facts), 64):
                some = known_facts(facts[start : start + 64], self.oracle)
                asked += len(facts[start : start + 64])
                progress.advance(min(len(some), total - len(known)) if cap else 64)
                known += some
                if cap is not None and len(known) >= cap:
                    break
        say(
            f"{name}: the oracle knows {len(known)} of {asked} facts asked; using {len(known[:cap])}"
        )
        return known[:cap]

    @property
    def policy(self) -> LoraPolicy:
        """The sampler with its adapter, put on after the untrained one was measured."""
        if self._policy is None:
            self._policy = build.load_policy(self.config, self.lm)
        return self._policy

    def before(self) -> None:
        """The untrained sampler, with our prompt and with the original's, on the test facts."""
        if not self.config.evaluation.enabled:
            return
        self._measure("before", self.untrained)
        if self.config.evaluation.subject_only_baseline:
            prompt = task_prompt(SUBJECT_ONLY_PROMPT)
            self._measure(
                "subject_only", LoraPolicy(self.lm, prompt, self.untrained.constraints, None)
            )

    def _measure(self, stage: str, policy: LoraPolicy) -> None:
        path = self.folder / "evaluation" / f"{stage}.json"
        if path.is_file():
            return
        run = Run(stage, self.config, policy, self.oracle, self.judge, self.reward)
        title = {"before": "untrained sampler", "subject_only": "subject-only prompt"}.get(
            stage, "trained sampler"
        )
        with bar(f"evaluating the {title}", len(self.test_facts)) as progress:
            metrics, records = run.evaluate(
                self.test_facts,
                self.config.evaluation.n_samples,
                temperature=self.config.evaluation.temperature,
                seed=self.config.seed,
                on_fact=progress.advance,
            )
        write_records(path.with_name(f"{stage}_questions.jsonl"), records)
        write_metrics(path, metrics)

    def fit(self, budget: Budget) -> None:
        """Train, from the last checkpoint where there is one."""
        config = self.config
        last = self.folder / "checkpoints" / "last.ckpt"
        url = getattr(self.replay, "url", None)  # the embedded store's
        saved = last.read_bytes() if last.is_file() and self.ranks.size > 1 else b""
        self.ranks.broadcast(
            encode(Plan(tuple(self.train_facts), self.namespace, url, saved)), PLAN
        )
        parts = self._parts()
        module, stream = sampler_module(parts), facts_of_rank(parts)
        if module.objective.needs_prefix_rewards:
            say(prefix_cost(config))
        done = step_of(last)
        if done:
            say(f"resuming from step {done} of {config.trainer.n_steps} ({last})")
        holder: list[Bar] = []
        stop = GracefulStop(last, config.trainer.checkpoint_every, self.ranks, budget)
        trainer = self._trainer(parts, stop, lambda: holder[0] if holder else None)
        try:
            with bar("training", config.trainer.n_steps, done) as progress:
                holder.append(progress)
                trainer.fit(
                    module, stream, ckpt_path=str(last) if done else None, weights_only=True
                )
        finally:
            stop.restore()
        if stop.why:
            raise stopped(stop.why, trainer.global_step, config, last)
        if self.ranks.size > 1:
            record_memory(parts, self.folder / "ranks.json")

    def _parts(self) -> Parts:
        return Parts(
            self.config,
            self.ranks,
            self.policy,
            self.oracle,
            self.judge,
            self.replay,
            self.reward,
            self.train_facts,
        )

    def _trainer(
        self, parts: Parts, stop: GracefulStop, progress: Callable[[], Bar | None]
    ) -> L.Trainer:
        config, folder = self.config, self.folder
        history = folder / "history.jsonl"
        callbacks = [
            History(history, progress),
            Validation(
                history,
                config.trainer.validate_every,
                self._validate,
                config.trainer.best_by,
                self.reward.temperature(self.reward.final_step),
            ),
            Probes(folder / "probes.jsonl", config.trainer.probe_every),
            stop,
        ]
        return trainer_for(parts, folder, callbacks, loggers_for(config, folder))

    def _validate(self, _step: int) -> list[QuestionRecord]:
        """Questions on the validation facts under the final, untempered composite reward."""
        untempered = replace(self.reward, reward_temp_end=1.0, reward_temp_start=1.0)
        return list(
            rollout(
                self.policy,
                Scorer(self.policy, self.oracle, self.judge),
                untempered,
                self.validation_facts,
                n_samples=self.config.exploration.n_samples,
                step=untempered.final_step,
                seed=self.config.seed,
            )
        )

    def after(self) -> None:
        """Keep the best adapter, and measure it on the same test facts with the same draws."""
        checkpoints = self.folder / "checkpoints"
        card = model_card(
            self.config.model.name, flat(shown_settings(self.config)), "See `../report.html`."
        )
        for name in ("last", "best"):
            path = checkpoints / f"{name}.ckpt"
            if path.is_file():
                load_trained(self.policy, path)
            save_adapter(
                self.policy,
                self.folder / ("adapter" if name == "best" else "adapter_last"),
                self.config.model.name,
                card,
            )
        if self.config.evaluation.enabled:
            self._measure("after", self.policy)
            card = model_card(
                self.config.model.name,
                flat(shown_settings(self.config)),
                results_table(self.folder),
            )
            write_atomically(self.folder / "adapter" / "README.md", card.encode())
