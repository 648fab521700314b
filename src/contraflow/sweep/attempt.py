"""A running trial: its history, its pruning, restarts of lost jobs, and its outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import Trial, TrialState

from contraflow.sweep.launcher import Job, JobLost, Launcher, train_command
from contraflow.sweep.metric_names import worth_of
from contraflow.sweep.trial import RESULT, failure_of, result_of, values_of

STARTS = 3  # starts of one run at most, if its job is lost each time


@dataclass
class Attempt:
    """One run with the trial that proposed it."""

    trial: Trial
    overrides: Sequence[str]
    folder: Path
    log: Path
    metric: str  # the trial's result
    watched: str  # the metric of the history that decides on pruning
    prune: bool
    twins: list[Trial] = field(default_factory=list)  # later trials with the same settings
    job: Job = field(init=False)
    _launcher: Launcher = field(init=False)
    _n_seen: int = 0
    _n_starts: int = 0
    _is_pruned: bool = False

    def start(self, launcher: Launcher) -> None:
        """Start the run. Raises: UserError when it cannot be started."""
        self.resume(launcher, launcher.start(train_command(self.overrides, self.folder), self.log))

    def resume(self, launcher: Launcher, job: Job) -> None:
        """Follow a job that was started; a later process finds it by the name in the study."""
        self._launcher = launcher
        self.job = job
        self._n_starts += 1
        self.trial.set_user_attr("job", job.name)

    def has_ended(self, study: optuna.Study, print_line: Callable[[str], None]) -> bool:
        """Poll the job once; when the run has ended, report its outcome to the study."""
        number = self.trial.number + 1
        lost_job = ""
        try:
            code = self.job.poll()
        except JobLost as lost:
            lost_job = f"job {self.job.name} was lost ({lost})"
            if not self._is_pruned and self._n_starts < STARTS:
                print_line(f"  trial {number}: {lost_job}; it is started again")
                self.start(self._launcher)
                return False
            code = 1
        self._report_values(may_stop=code is None)
        if code is None:
            return False
        if self._is_pruned and not (self.folder / "finished").is_file():
            self._report_outcome(study, TrialState.PRUNED)
            outcome = f"pruned, its {self.watched} is below the median of the others"
        elif code != 0:
            self._report_outcome(study, TrialState.FAIL)
            last_job = f"{lost_job}, the last of {self._n_starts}"
            outcome = f"failed: {last_job if lost_job else failure_of(code, self.log)}"
        else:
            outcome = self._report_result(study)
        print_line(f"  trial {number}: {outcome}")
        return True

    def _report_result(self, study: optuna.Study) -> str:
        """Report the metric of a finished run, and return it in words.

        A metric may be undefined for a run, as the Vendi score is where no question is valid.
        """
        value = result_of(self.folder, self.metric)
        if math.isnan(value):
            self._report_outcome(study, TrialState.FAIL)
            return f"no result: {self.metric} is not defined for its questions"
        for trial in (self.trial, *self.twins):
            trial.set_user_attr(RESULT, value)
        self._report_outcome(study, TrialState.COMPLETE, worth_of(self.metric, value))
        return f"{self.metric} {value:.4g}"

    def _report_values(self, may_stop: bool) -> None:
        """Report the new values of the watched metric; stop a job that is pruned."""
        for step, value in values_of(self.folder, self.watched)[self._n_seen :]:
            self._n_seen += 1
            self.trial.report(worth_of(self.watched, value), step)
            if may_stop and self.prune and not self._is_pruned and self.trial.should_prune():
                self._is_pruned = True
                self.job.stop()

    def _report_outcome(
        self, study: optuna.Study, state: TrialState, value: float | None = None
    ) -> None:
        for trial in (self.trial, *self.twins):
            study.tell(trial, value, state=state)
