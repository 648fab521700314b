"""A judge, an objective or a reward of the caller's own, in place of those of the config.

A run keeps in `own_objects.json` which ones it was given. It is not resumed without them or with
others: their scores, and the weights that were trained with them, would be mixed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from contraflow.errors import UserError, on_one_line
from contraflow.system.files import write_atomically
from contraflow.system.progress import print_plain

if TYPE_CHECKING:
    from contraflow.gflownet.objectives import Objective
    from contraflow.reward.judge.scores import Judge
    from contraflow.reward.schedule import RewardSchedule

OWN_OBJECTS = "own_objects.json"
SCORING = ("judge", "reward")  # an objective scores nothing
# How Python writes an object without a text of its own; the number differs in every process.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True)
class OwnObjects:
    """What a caller gives; None where the config says what is built."""

    judge: Judge | None = None
    objective: Objective | None = None
    reward: RewardSchedule | None = None

    @property
    def given(self) -> dict[str, object]:
        """The objects that were given, by their role."""
        of_all = {each.name: getattr(self, each.name) for each in fields(self)}
        return {role: given for role, given in of_all.items() if given is not None}

    @property
    def shown(self) -> dict[str, str]:
        """One line on each object that was given, by its role."""
        return {role: shown_object(given) for role, given in self.given.items()}

    @property
    def settings(self) -> dict[str, str]:
        """The same beside the settings of a run, as `own.judge` and so on."""
        return {f"own.{role}": text for role, text in self.shown.items()}


NO_OWN = OwnObjects()


def print_objects(own: OwnObjects) -> None:
    """Print a line on each object that was given."""
    for role, text in own.shown.items():
        print_plain(f"{role}: {text}, in place of that of the config")


def print_left_out(folder: Path, own: OwnObjects) -> None:
    """Print which of its own objects a run that is opened does not score with."""
    for role, text in recorded_objects(folder).items():
        if role in SCORING and role not in own.given:
            print_plain(
                f"{folder} was trained with its own {role}, {text}; here the {role} of the "
                f"config scores: give open_run(…, {role}=…) that object for the same scores"
            )


def has_address(text: str) -> bool:
    """Whether a text names a place in memory, and so differs from process to process."""
    return _ADDRESS.search(text) is not None


def shown_object(given: object) -> str:
    """Say on one line which object it is, equal in every process.

    Its class and its identity; without one its qualified name, with the values of a dataclass.
    """
    kind = type(given)
    identity = getattr(given, "identity", None)
    if identity is not None:
        return on_one_line(f"{kind.__qualname__} (identity {identity})")
    name = getattr(given, "__qualname__", None)
    if name is not None:  # a function
        return f"{getattr(given, '__module__', '')}.{name}"
    values = repr(given)
    if is_dataclass(given) and not has_address(values):
        return on_one_line(f"{kind.__module__}.{values}")
    return f"{kind.__module__}.{kind.__qualname__}"


def scores_identity(judge: Judge) -> str:
    """The identity under which the scores of a judge are kept.

    A class that changes the package's judge inherits its identity, but not its scores.
    """
    kind = type(judge)
    changes_ours = any(
        base.__module__.startswith("contraflow.reward.judge") for base in kind.__mro__[1:]
    )
    if kind.__module__.startswith("contraflow.") or not changes_ours:
        return judge.identity
    return f"{kind.__qualname__}|{judge.identity}"


def recorded_objects(folder: Path) -> dict[str, str]:
    """One line on each object of its own that a run was given; empty for a run without any.

    Raises: UserError where the record was cut or damaged.
    """
    path = folder / OWN_OBJECTS
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: was cut or damaged ({error}); copy it again") from None


def record_objects(folder: Path, shown: Mapping[str, str]) -> None:
    """Write which objects a run was given; a run without any has no such file."""
    path = folder / OWN_OBJECTS
    if shown:
        write_atomically(path, json.dumps(shown, indent=2).encode())
    else:
        path.unlink(missing_ok=True)


def other_object(folder: Path, recorded: Mapping[str, str], shown: Mapping[str, str]) -> str | None:
    """Say in one line in which object a start differs from the run in a folder; None in none."""
    for role in (each.name for each in fields(OwnObjects)):
        before, now = recorded.get(role), shown.get(role)
        if before == now:
            continue
        if before is None:
            return (
                f"{folder} was trained with the {role} of its config, now {role} is {now}; leave "
                f"{role}= out to resume it, or choose another name=…"
            )
        here = "this start has none" if now is None else f"now {role} is {now}"
        return (
            f"{folder} was trained with its own {role}, {before}, and {here}; resume it in "
            f"Python with contraflow.train(config, {role}=…) and that object, or choose another "
            "name=…"
        )
    return None
