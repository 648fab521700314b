"""The folder of a run: create or reopen it, compare settings, record costs, print results."""

from __future__ import annotations

import json
import math
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from contraflow.errors import UserError, on_one_line
from contraflow.evaluation.curves import is_number
from contraflow.evaluation.metrics import Metric, Metrics, read_metrics
from contraflow.evaluation.stages import STAGES
from contraflow.evaluation.target_report import read_target, target_lines
from contraflow.run.intact import read_run_record
from contraflow.run.own_files import check_own_files, remove_chosen
from contraflow.run.own_objects import (
    NO_OWN,
    OwnObjects,
    other_object,
    record_objects,
    recorded_objects,
)
from contraflow.settings import MAY_CHANGE, Config, flat, shown_settings
from contraflow.system.addresses import safe_words
from contraflow.system.files import whole_lines, write_atomically
from contraflow.system.memory import peak_memory
from contraflow.system.versions import versions_of

_PACKAGES = ("contraflow", "torch", "transformers", "peft", "lightning")
# Settings that were cut between two lines are still YAML.
_HEAD = "# The settings of a run; they are whole where the last line is '# end'.\n"
_END = "# end\n"
_NAMED = 3  # settings that a refusal names


def open_folder(config: Config, own: OwnObjects = NO_OWN) -> Path:
    """Create the run folder or open it again, and save the settings in it.

    Raises: UserError when the folder was trained with other settings, naming up to three that
        differ, or with other objects of the caller's own, or where a run would write over
        somebody's own files.
    """
    folder = Path(config.run_dir)
    check_own_files(folder, config.data.facts)
    text = _HEAD + OmegaConf.to_yaml(OmegaConf.create(shown_settings(config))) + _END
    try:
        for name in ("checkpoints", "evaluation"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        saved = folder / "config.yaml"
        if saved.is_file():
            remedy = "copy it again, or remove it to go on with the settings of this command"
            _compare_settings(folder, read_settings(saved, remedy), shown_settings(config))
        _compare_objects(folder, own)
        write_atomically(saved, text.encode())
        record_objects(folder, own.shown)
    except OSError as error:
        raise UserError(
            f"run_dir={folder}: {error.strerror}; choose a writable run_dir=…"
        ) from error
    return folder


def read_settings(path: Path, remedy: str) -> Any:
    """Read a ``config.yaml`` that `open_folder` wrote.

    Raises: UserError with ``remedy`` when the file was cut or is not YAML of settings.
    """
    try:
        saved = OmegaConf.load(path)
        reason = "" if saved and isinstance(saved, DictConfig) else "it holds no settings"
        if not _is_whole(path.read_text(encoding="utf-8")):
            reason = reason or "its end is missing"
    except OSError as error:
        # OmegaConf has errors of this kind for YAML that is neither a list nor a mapping.
        if error.errno is not None:
            raise
        reason = one_line(error)
    except (YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        reason = one_line(error)
    if reason:
        raise UserError(f"{path}: was cut or damaged ({reason}); {remedy}")
    return saved


def _is_whole(text: str) -> bool:
    """Whether settings end as they were written; those of older versions have no last line."""
    return text.endswith(_END if text.startswith(_HEAD) else "\n")


def one_line(error: Exception) -> str:
    """The text of an error on one line."""
    return " ".join(str(error).split())[:120]


def _compare_settings(folder: Path, saved: Any, now: dict[str, Any]) -> None:
    """Refuse changed settings once there is a checkpoint.

    Before the first checkpoint, delete what the old settings chose and measured.
    """
    old = flat(OmegaConf.to_container(saved))
    new = flat(now)
    changed = [k for k in new if k in old and old[k] != new[k] and not k.startswith(MAY_CHANGE)]
    if not changed:
        return
    if _has_checkpoint(folder):
        named = [
            f"{key}={_typed(old[key])}, now {key}={_typed(new[key])}" for key in changed[:_NAMED]
        ]
        count = "1 setting differs" if len(changed) == 1 else f"{len(changed)} settings differ"
        raise UserError(
            f"{folder} was trained with {on_one_line('; '.join(named))} ({count}); "
            "resume with the same settings, or choose another name=…"
        )
    remove_chosen(folder)


def _typed(value: object) -> str:
    """A value of a setting as it is typed."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compare_objects(folder: Path, own: OwnObjects) -> None:
    """The same for the objects that the caller gives, which scored what was measured."""
    difference = other_object(folder, recorded_objects(folder), own.shown)
    if difference is None:
        return
    if _has_checkpoint(folder):
        raise UserError(difference)
    remove_chosen(folder)


def _has_checkpoint(folder: Path) -> bool:
    return (folder / "checkpoints" / "last.ckpt").exists()


def record_cost(folder: Path, seconds: float) -> None:
    """Write ``run.json``: what the report shows of the run itself. Costs add up over resumes."""
    path = folder / "run.json"
    old = read_run_record(path) if path.is_file() else {}
    lines = whole_lines(folder / "history.jsonl")
    step_seconds = [line["step_seconds"] for line in lines if is_number(line.get("step_seconds"))]
    settings = flat(OmegaConf.to_container(OmegaConf.load(folder / "config.yaml")))
    given = recorded_objects(folder)
    run = {
        "name": folder.name,
        "created": old.get("created") or time.strftime("%Y-%m-%d %H:%M"),
        "command": " ".join(["contraflow", *safe_words(sys.argv[1:])]),
        "n_steps": len(lines),
        "step_seconds_median": statistics.median(step_seconds) if step_seconds else None,
        "peak_memory_bytes": max(old.get("peak_memory_bytes") or 0, peak_memory()),
        "wall_seconds": (old.get("wall_seconds") or 0.0) + seconds,
        "versions": versions_of(_PACKAGES) | {"python": platform.python_version()},
        "config": settings | {f"own.{role}": text for role, text in given.items()},
    }
    write_atomically(path, json.dumps(run, indent=2).encode())


SHOWN = (
    "strict_success",
    "valid_contradiction",
    "well_formed",
    "distinct_questions",
    "distinct_valid",
    "vendi",
    "log_reward",
    "log_contradiction",
)


def _stages(folder: Path) -> dict[str, Metrics]:
    """The metrics of every stage that was evaluated."""
    paths = {stage: folder / "evaluation" / f"{stage}.json" for stage in STAGES}
    return {stage: read_metrics(path) for stage, path in paths.items() if path.is_file()}


def results_table(folder: Path) -> str:
    """Before and after side by side, as Markdown."""
    stages = _stages(folder)
    titles = [STAGES[stage].title for stage in stages]
    head = "| on held-out facts | " + " | ".join(titles) + " |"
    rows = [head, "|---" * (len(stages) + 1) + "|"]
    for key in SHOWN:
        cells = [_cell(metrics[key]) for metrics in stages.values()]
        rows.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _cell(metric: Metric) -> str:
    if math.isnan(metric.value):
        return metric.note or "not defined"
    if math.isnan(metric.low):
        return f"{metric.value:.3f} ({metric.note or 'no interval'})"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"


def print_summary(folder: Path, report: Path) -> None:
    """Print the results table, the costs and where adapter and report are."""
    run = json.loads((folder / "run.json").read_text())
    if (folder / "evaluation" / "after.json").is_file():
        print(results_table(folder))
    titles = {stage: names.title for stage, names in STAGES.items()}
    estimate = read_target(folder / "evaluation" / "target.json")
    if estimate is not None:
        print("\n".join(target_lines(estimate, titles)))
    seconds = run["step_seconds_median"]
    print(
        f"median step {'unknown' if seconds is None else f'{seconds:.1f} s'}, "
        f"peak memory {run['peak_memory_bytes'] / 2**30:.2f} GiB, "
        f"{run['wall_seconds'] / 60:.1f} minutes in all"
    )
    print(f"adapter: {folder / 'adapter'}\nreport:  {report}")
