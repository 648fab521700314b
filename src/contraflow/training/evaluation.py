"""The evaluations of a run, each written once: a resumed run keeps those that are there.

Of one that was stopped, it keeps the answers and the scored questions (`run/kept.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from contraflow.evaluation.metrics import write_metrics
from contraflow.evaluation.records import QuestionRecord, read_records, write_records
from contraflow.evaluation.resampling import in_proportion
from contraflow.evaluation.stages import STAGES
from contraflow.evaluation.target_report import write_target
from contraflow.facts import Fact
from contraflow.policy.lora import LoraPolicy
from contraflow.run.kept import kept_in
from contraflow.run.session import Run
from contraflow.settings import EvaluationConfig
from contraflow.system.progress import bar
from contraflow.text.prompts import task_prompt
from contraflow.training.choose_facts import ChosenFacts

SUBJECT_ONLY_PROMPT = "Generate a question about {subject}:\nQuestion:"


@dataclass(frozen=True)
class Evaluation:
    """What is measured before and after training, in the run's folder ``evaluation``."""

    run_dir: Path
    untrained: Run
    facts: ChosenFacts

    @property
    def folder(self) -> Path:
        """Where the results are."""
        return self.run_dir / "evaluation"

    @property
    def settings(self) -> EvaluationConfig:
        """The settings `evaluation.*`."""
        return self.untrained.config.evaluation

    def before(self) -> None:
        """Measure the untrained sampler on the test facts, with our prompt and the prototype's."""
        if not self.settings.enabled:
            return
        with kept_in(self.folder / "before.kept") as kept:
            if self.settings.untrained:
                self._measure("before", kept.of(self.untrained), self.facts.test)
            if self.settings.subject_only_baseline:
                policy = self.untrained.policy
                prompt = task_prompt(SUBJECT_ONLY_PROMPT)
                baseline = LoraPolicy(policy.lm, prompt, policy.constraints, None)
                self._measure("subject_only", kept.of(self._run(baseline)), self.facts.test)

    def after(self, policy: LoraPolicy) -> None:
        """Measure the trained sampler, on the same test facts with the same draws.

        A user who asks for n questions wants different ones, so these are measured too, and, if
        the settings say so, a draw of different ones in proportion to their reward. A run scores
        equal questions once, so most of the different ones are known from the draws. Questions of
        the prior estimate what an exact sampler of the target would have.
        """
        with kept_in(self.folder / "after.kept") as kept:
            self._measure_trained(kept.of(self._run(policy)))
        self._estimate_target()

    def _measure_trained(self, run: Run) -> None:
        self._measure("after", run, self.facts.test)
        if self.settings.distinct:
            self._measure("different", run, self.facts.test, distinct=True)
        if self.settings.proportion_of:
            self._measure(
                "proportional",
                run,
                self.facts.test,
                n=self.settings.proportion_of,
                distinct=True,
                keep=self._in_proportion,
            )
        self._measure("training_facts", run, self.facts.train[: self.settings.training_facts])
        self._draw_for_target(run)

    def _run(self, policy: LoraPolicy) -> Run:
        """The run with another sampler."""
        return replace(self.untrained, policy=policy)

    def _in_proportion(self, drawn: Iterable[QuestionRecord]) -> Iterator[QuestionRecord]:
        """Of the different questions of each fact, as many as are evaluated elsewhere."""
        kept = in_proportion(drawn, self.settings.n_samples, self.untrained.config.seed)
        for _, chosen in kept:
            yield from chosen

    def _measure(
        self,
        stage: str,
        run: Run,
        facts: Sequence[Fact],
        *,
        n: int | None = None,
        distinct: bool = False,
        keep: Callable[[Iterator[QuestionRecord]], Iterable[QuestionRecord]] | None = None,
    ) -> None:
        path = self.folder / f"{stage}.json"
        if path.is_file() or not facts:
            return
        with bar(f"evaluating the {STAGES[stage].noun}", len(facts)) as progress:
            metrics, records = run.evaluate(
                facts,
                n or self.settings.n_samples,
                temperature=self.settings.temperature,
                seed=self.untrained.config.seed,
                distinct=distinct,
                keep=keep,
                on_fact=progress.advance,
            )
        write_records(path.with_name(f"{stage}_questions.jsonl"), records)
        write_metrics(path, metrics)

    def _draw_for_target(self, run: Run) -> None:
        """Draw the questions of the prior from which an exact sampler of the target is estimated.

        After training: the first questions of a run are on the screen two minutes earlier.
        """
        facts = self.facts.test[: self.settings.target_facts]
        if self._of_target.is_file() or not facts:
            return
        with bar("estimating an exact sampler of the target", len(facts)) as progress:
            drawn = run.draw_for_target(
                facts,
                self.settings.target_samples,
                seed=self.untrained.config.seed,
                on_fact=progress.advance,
            )
        write_records(self._of_target, drawn)

    @property
    def _of_target(self) -> Path:
        return self.folder / "target_questions.jsonl"

    def _estimate_target(self) -> None:
        """Compare an exact sampler of the target with those that were evaluated so far."""
        if not self._of_target.is_file():
            return
        questions = {s: self.folder / f"{s}_questions.jsonl" for s in ("before", "after")}
        estimate = self.untrained.estimate_target(
            read_records(self._of_target),
            {stage: read_records(path) for stage, path in questions.items() if path.is_file()},
            self.settings.n_samples,
            seed=self.untrained.config.seed,
        )
        write_target(self.folder / "target.json", estimate)
