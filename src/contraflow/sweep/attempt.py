"""A trial under way: watched by its run's history, pruned, started again where its job was lost,
told to the study.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import Trial, TrialState

from contraflow.sweep.launcher import Job, JobLost, Launcher, train_command
from contraflow.sweep.trial import failure_of, result_of, values_of

STARTS = 3  # of one run, where its job is lost each time


@dataclass
class Attempt:
    """One run, the trial that asked for it, and any later ones that asked for the same."""

    trial: Trial
    overrides: Sequence[str]
    folder: Path
    log: Path
    metric: str
    watched: str
    prune: bool
    twins: list[Trial] = field(default_factory=list)
    job: Job = field(init=False)
    _launcher: Launcher = field(init=False)
    _n_seen: int = 0
    _n_starts: int = 0
    _is_pruned: bool = False

    def start(self, launcher: Launcher) -> None:
        """Raises: UserError when it cannot be started."""
        self.resume(launcher, launcher.start(train_command(self.overrides, self.folder), self.log))

    def resume(self, launcher: Launcher, job: Job) -> None:
        """Go on with a job that runs already; its name is kept, for the process after this one."""
        self._launcher, self.job = launcher, job
        self._n_starts += 1
        self.trial.set_user_attr("job", job.name)

    def has_ended(self, study: optuna.Study, say: Callable[[str], None]) -> bool:
        """Look once: report what is new, and once the run has ended tell the study what came out."""
        number = self.trial.number + 1
        try:
            code = self.job.poll()
        except JobLost as lost:
            if not self._is_pruned and self._n_starts < STARTS:
                say(f"  trial {number}: job {self.job.name} was lost ({lost}); it is started again")
                self.start(self._launcher)
                return False
            code, why = 1, f"job {self.job.name} was lost ({lost}), the last of {self._n_starts}"
        else:
            why = ""
        self._watch(stop=code is None)
        if code is None:
            return False
        if self._is_pruned and not (self.folder / "finished").is_file():
            self._tell(study, TrialState.PRUNED)
            say(f"  trial {number}: pruned, its {self.watched} is below the median of the others")
        elif code != 0:
            self._tell(study, TrialState.FAIL)
            say(f"  trial {number}: failed: {why or failure_of(code, self.log)}")
        else:
            value = result_of(self.folder, self.metric)
            self._tell(study, TrialState.COMPLETE, value)
            say(f"  trial {number}: {self.metric} {value:.4g}")
        return True

    def _watch(self, stop: bool) -> None:
        for step, value in values_of(self.folder, self.watched)[self._n_seen :]:
            self._n_seen += 1
            self.trial.report(value, step)
            if stop and self.prune and not self._is_pruned and self.trial.should_prune():
                self._is_pruned = True
                self.job.stop()

    def _tell(self, study: optuna.Study, state: TrialState, value: float | None = None) -> None:
        for trial in (self.trial, *self.twins):
            study.tell(trial, value, state=state)
