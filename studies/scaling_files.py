"""The two files that `studies.scaling` reads: counted work, and what a GPU measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contraflow.errors import UserError, on_one_line
from studies.roofline import DEBERTA_LARGE, MODELS, PHASES

T = TypeVar("T")


class _Leg(msgspec.Struct):
    passes: float
    tokens: float
    attended: float
    keys_read: float
    keys_copied: float
    states_read: float
    actions: float


class _Sizes(msgspec.Struct):
    asked: float
    verdict: float
    scored: float
    entry: float


class _Setting(msgspec.Struct):
    phases: dict[str, _Leg]
    a_question: _Sizes
    facts: float
    questions: float


class _Launches(msgspec.Struct):
    base: float
    a_layer: float


class _Counts(msgspec.Struct):
    kernels: dict[str, dict[str, _Launches]]
    settings: dict[str, _Setting]


class _Measured(msgspec.Struct):
    phases: dict[str, dict[str, float]]
    work: dict[str, _Leg]


def read_counts(path: Path) -> dict[str, Any]:
    """The content of a file of `benchmarks.work.steps`.

    Raises: UserError naming the file and what it lacks.
    """
    remedy = "make it with `python -m benchmarks.work.steps`"
    content, counts = _read(path, _Counts, remedy)
    for model in MODELS:
        setting = counts.settings.get(model.setting)
        if setting is None:
            raise UserError(f"{path}: has no settings.{model.setting}; {remedy}")
        for shape, is_judge in ((model.shape, False), (DEBERTA_LARGE, True)):
            phases = [phase for phase in PHASES if (phase == "judge") is is_judge]
            launches = counts.kernels.get(shape.kernels, {})
            _check_legs(path, phases, setting.phases, launches, f"kernels.{shape.kernels}", remedy)
    return content


def read_measured(path: Path, way: str, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds (`phases`) and counted work (`work`) of each phase, of a file of `benchmarks.gpu`.

    Args:
        way: how its phases were run: "eager" or "static".
        counts: of `read_counts`, whose kernels are started.
    Raises: UserError naming the file and what it lacks.
    """
    remedy = "make it with `python -m benchmarks.gpu.step --out`"
    content, measured = _read(path, _Measured, remedy)
    phases = measured.phases.get(way)
    if not phases:
        raise UserError(f"{path}: has no seconds of phases.{way}; {remedy}")
    for phase in phases:
        if phase not in PHASES:
            raise UserError(f"{path}: phases.{way} has {phase!r}, which is none; {remedy}")
        shape = DEBERTA_LARGE if phase == "judge" else MODELS[0].shape
        launches = counts["kernels"][shape.kernels]
        _check_legs(path, [phase], measured.work, launches, "the counted kernels", remedy)
    return {"phases": content["phases"][way], "work": content["work"]}


def _read(path: Path, kind: type[T], remedy: str) -> tuple[dict[str, Any], T]:
    try:
        content = msgspec.json.decode(path.read_bytes())
        return content, msgspec.convert(content, kind)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be used ({on_one_line(error)}); {remedy}") from None


def _check_legs(
    path: Path,
    phases: list[str],
    work: Mapping[str, object],
    launches: Mapping[str, object],
    of: str,
    remedy: str,
) -> None:
    """Every phase needs counted work, and all its passes the kernels that they start."""
    for phase in phases:
        legs = [f"{phase}.{leg}" for leg in ("read", "decode") if f"{phase}.{leg}" in work]
        if not legs:
            raise UserError(f"{path}: has no work of {phase}; {remedy}")
        unknown = [leg for leg in legs if leg not in launches]
        if unknown:
            raise UserError(f"{path}: has {unknown[0]}, but {of} have not; {remedy}")
