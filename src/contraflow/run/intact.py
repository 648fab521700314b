"""Check the files that a resumed run reads, before any model loads.

Copying a run folder to another machine can cut files. Each of them is refused by its path, with
what to do; a run that goes on would else end later, or silently lose what was in the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contraflow.errors import UserError
from contraflow.evaluation.metrics import read_metrics
from contraflow.evaluation.records import read_records
from contraflow.evaluation.stages import STAGES
from contraflow.facts import read_facts
from contraflow.replay.existing import recorded_namespace
from contraflow.run.own_files import facts_files
from contraflow.system.checkpoint_file import BEST, LAST, read_checkpoint
from contraflow.system.files import whole_lines
from contraflow.system.progress import print_line


def check_run_files(folder: Path) -> None:
    """Read every file that a resumed run needs.

    A history that lacks steps is reported and not refused: a power failure can cut it too, and
    training does not depend on it.

    Raises: UserError naming the first file that is cut or damaged, and the remedy.
    """
    steps = [_step_of(folder / "checkpoints" / name) for name in (BEST, LAST)]
    recorded_namespace(folder)
    for path in facts_files(folder):
        _check(path, _read_whole_facts, "copy it again" + _choose_again(steps[-1]))
    for stage in STAGES:
        metrics = folder / "evaluation" / f"{stage}.json"
        questions = metrics.with_name(f"{stage}_questions.jsonl")
        _check(metrics, read_metrics, "copy it again, or remove it to measure it again")
        also = f"copy it again, or remove it and {metrics.name} to measure both again"
        _check(questions, read_records, also)
    _check(folder / "run.json", read_run_record, "copy it again, or remove it to count costs anew")
    _report_missing_steps(folder / "history.jsonl", steps[-1])


def read_run_record(path: Path) -> dict[str, Any]:
    """Read a run.json. Raises: UserError when it is not a JSON object."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a JSON object")
    return content


def _step_of(path: Path) -> int:
    return int(read_checkpoint(path)["global_step"]) if path.is_file() else 0


def _check(path: Path, read: Callable[[Path], Any], remedy: str) -> None:
    if not path.is_file():
        return
    try:
        read(path)
    except UserError as error:
        reason = str(error).splitlines()[0].removeprefix(str(path)).removeprefix(":").strip()
        reason = reason.split("; ")[0]
        raise UserError(f"{path}: was cut or damaged ({reason}); {remedy}") from None


def _read_whole_facts(path: Path) -> None:
    read_facts(path)
    if not path.read_bytes().endswith(b"\n"):
        raise UserError("the last line has no end")


def _choose_again(step: int) -> str:
    """Before the first checkpoint the facts can be chosen again; later that is another run."""
    return ", or remove it to choose the facts again" if step == 0 else ""


def _report_missing_steps(path: Path, done: int) -> None:
    found = {row.get("step") for row in whole_lines(path)}
    missing = [step for step in range(done) if step not in found]
    if missing:
        print_line(
            f"{path}: {len(missing)} of the {done} steps before the checkpoint are missing, the "
            f"first is step {missing[0]}; the report will lack them. To keep them, stop this run, "
            "copy the file again and start once more"
        )
