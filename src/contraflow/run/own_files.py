"""Which files of a run folder are the run's own, so that a user's own files are left alone."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from contraflow.errors import UserError
from contraflow.evaluation.stages import STAGES
from contraflow.run.own_objects import OWN_OBJECTS
from contraflow.system.same_file import is_same_file

PARTS = ("train", "validation", "test")
FACTS_SOURCE = "facts_source.json"
_AUDIT = "audit.json"
# Written by any run; another file of such a name would be replaced, or read as the run's.
_NAMES = (
    "run.json",
    FACTS_SOURCE,
    OWN_OBJECTS,
    "history.jsonl",
    "probes.jsonl",
    "report.html",
    "adapter",
    "adapter_last",
)


def facts_files(folder: Path) -> list[Path]:
    """The facts that a run chose to train, validate and test on."""
    return [folder / f"{part}_facts.jsonl" for part in PARTS]


def measured_files(folder: Path) -> list[Path]:
    """The metrics and questions of every evaluated sampler, and of the estimated target."""
    evaluation = folder / "evaluation"
    names = (*STAGES, "target")
    metrics = [evaluation / f"{name}.json" for name in names]
    return metrics + [evaluation / f"{name}_questions.jsonl" for name in names]


def remove_chosen(folder: Path) -> None:
    """Delete the facts that a run chose, and what it measured on them."""
    for path in (*facts_files(folder), *measured_files(folder)):
        path.unlink(missing_ok=True)


def check_own_files(folder: Path, facts: str | None) -> None:
    """Check that a run in this folder would not write over files that are not its own.

    Args:
        facts: the setting `data.facts`.
    Raises: UserError naming the file and what to do.
    """
    _check_facts(folder, facts)
    if is_run(folder):
        return
    remedy = "choose another run_dir=… or name=…"
    if (folder / _AUDIT).is_file():
        raise UserError(f"run_dir={folder}: is the folder of an audit; {remedy}")
    for path in _named(folder):
        if path.exists():
            raise UserError(
                f"run_dir={folder}: has a {path.name} but is no run, and a run would write over "
                f"it; move it, or {remedy}"
            )


def _named(folder: Path) -> list[Path]:
    names = ("config.yaml", *_NAMES)
    return [*(folder / name for name in names), *facts_files(folder)]


def is_part_of_run(path: Path) -> bool:
    """Whether a path is a file that a run keeps in its folder, or one in a folder of it."""
    path = path.resolve()
    for folder in (path.parent, path.parent.parent):
        own = (*_named(folder), *measured_files(folder), folder / "checkpoints")
        if is_run(folder) and (path in own or path.parent in own):
            return True
    return False


def is_run(folder: Path) -> bool:
    """Whether a run was started in this folder, also where its settings were cut or removed."""
    has_folders = all((folder / name).is_dir() for name in ("checkpoints", "evaluation"))
    return has_folders or _has_settings(folder / "config.yaml")


def _has_settings(path: Path) -> bool:
    """Whether a file is YAML with settings that every run has, of any version."""
    if not path.is_file():
        return False
    try:
        saved = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException):
        return False
    return isinstance(saved, DictConfig) and {"run_dir", "model", "policy"} <= set(saved)


def _check_facts(folder: Path, facts: str | None) -> None:
    if facts is None:
        return
    for path in (*facts_files(folder), *measured_files(folder)):
        if is_same_file(facts, path):
            raise UserError(
                f"data.facts={facts}: a run in run_dir={folder} writes {path.name} itself; copy "
                "your file to another name, or choose another run_dir=…"
            )
