"""Plans: which runs to make, with which settings and seeds.

A plan is a JSON object. ``base`` holds overrides of all runs. Each of ``runs`` has a ``name``,
its ``overrides``, and where they differ from the plan's its ``seeds``, ``temperatures`` (sampling
temperatures at which it is measured beside 1), ``program`` and ``arguments``. The settings of a run
are the base, then its overrides: the later one of two values counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from contraflow import compose_config
from contraflow.errors import UserError

PROGRAMS = {
    "train": ("contraflow.cli", "train"),
    "journey": ("studies.journey.train",),
    "untrained": ("studies.fit.baselines", "untrained"),
    "resample": ("studies.fit.baselines", "resample"),
    "finetune": ("studies.fit.baselines", "finetune"),
}
"""The module that makes a run, with its first argument; all take overrides and ``run_dir=``."""


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One setting of a plan."""

    name: str
    overrides: list[str] = []
    seeds: list[int] | None = None
    temperatures: list[float] | None = None
    program: str = "train"
    arguments: list[str] = []  # of programs other than train


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """A plan file."""

    about: str
    runs: list[Entry]
    base: list[str] = []
    seeds: list[int] = msgspec.field(default_factory=lambda: [0])
    temperatures: list[float] = []


class PlannedRun(msgspec.Struct, frozen=True):
    """One run: a setting with one seed."""

    setting: str
    seed: int
    program: str
    arguments: tuple[str, ...]
    overrides: tuple[str, ...]
    temperatures: tuple[float, ...]

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.setting}.{self.seed}"


def read_plan(path: Path) -> Plan:
    """Read a plan and compose every setting in it.

    Raises: UserError naming the file and the run whose setting does not exist or is out of range.
    """
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except msgspec.MsgspecError as error:
        raise UserError(f"{path}: is not a plan ({error}); see studies/fit/plan.py") from None
    names = [entry.name for entry in plan.runs]
    for entry in plan.runs:
        if names.count(entry.name) > 1:
            raise UserError(f"{path}: two runs are called {entry.name}; give each its own name")
        if entry.program not in PROGRAMS:
            known = ", ".join(PROGRAMS)
            raise UserError(f"{path}: {entry.name}: program={entry.program}; choose one of {known}")
    check_settings(path, plan, plan.runs)
    return plan


def check_settings(path: Path, plan: Plan, entries: Sequence[Entry]) -> None:
    """Compose the settings of every entry.

    Raises: UserError naming the file and the first entry whose settings do not compose.
    """
    for entry in entries:
        try:
            compose_config([*plan.base, *entry.overrides])
        except UserError as error:
            raise UserError(f"{path}: {entry.name}: {error}") from None


def planned_runs(plan: Plan) -> Iterator[PlannedRun]:
    """The runs of a plan: all settings with their first seed, then all with their second, ..."""
    seeds = [plan.seeds if entry.seeds is None else entry.seeds for entry in plan.runs]
    for i in range(max(map(len, seeds), default=0)):
        for entry, own in zip(plan.runs, seeds, strict=True):
            if i < len(own):
                given = entry.temperatures
                yield PlannedRun(
                    setting=entry.name,
                    seed=own[i],
                    program=entry.program,
                    arguments=tuple(entry.arguments),
                    overrides=(*plan.base, *entry.overrides),
                    temperatures=tuple(plan.temperatures if given is None else given),
                )
