"""Loggers of a run: CSV, TensorBoard and Weights & Biases.

W&B is offline by default and never asks for a login.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from contraflow.errors import UserError
from contraflow.run.own_objects import recorded_objects
from contraflow.settings import Config, shown_settings
from contraflow.system.addresses import safe_words
from contraflow.system.files import write_atomically

WANDB_ID = "wandb_id"
_ID_IN_FOLDER_NAME = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(\w+)")


def loggers_for(config: Config, folder: Path) -> list[Logger]:
    """The loggers that the config asks for, all inside the run folder."""
    loggers: list[Logger] = []
    if config.logger.csv:
        loggers.append(CSVLogger(folder, name="csv", version=_csv_version(folder / "csv")))
    if config.logger.tensorboard:
        loggers.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    if config.logger.wandb != "disabled":
        loggers.append(_wandb(config, folder))
    return loggers


def close_loggers(config: Config, *, failed: bool) -> None:
    """End the W&B run, which another run of this process would else continue."""
    if config.logger.wandb != "disabled":
        import wandb

        wandb.finish(exit_code=int(failed))


def _csv_version(folder: Path) -> str:
    """A new folder for each start after the first: Lightning deletes the table that it finds."""
    earlier = len(list(folder.rglob("metrics.csv")))
    return f"start_{earlier + 1}" if earlier else ""


def wandb_run_id(folder: Path) -> str:
    """The id of the folder's one W&B run, kept in the file ``wandb_id``.

    Each start of a run would else be another W&B run. A folder from before this file existed keeps
    the id of its first start.

    Raises: UserError when the file holds no id.
    """
    path = folder / WANDB_ID
    if path.is_file():
        found = path.read_bytes().decode(errors="replace").strip()
        if not re.fullmatch(r"\w{1,64}", found, re.ASCII):
            raise UserError(
                f"{path}: was cut or damaged (it holds no id); copy it again, or remove it to go "
                "on as another W&B run"
            )
        return found
    starts = sorted((folder / "wandb").glob("*run-*"), key=lambda path: path.name.split("-")[-2:])
    ids = [match[1] for start in starts if (match := _ID_IN_FOLDER_NAME.fullmatch(start.name))]
    first = ids[0] if ids else uuid.uuid4().hex[:8]
    write_atomically(path, f"{first}\n".encode())
    return first


def _wandb(config: Config, folder: Path) -> Logger:
    import wandb

    mode: Any = config.logger.wandb
    given = recorded_objects(folder)
    settings = wandb.Settings(x_disable_stats=True, console="off", silent=True, mode=mode)
    # Silences W&B's warning about `anonymous`, which Lightning sets.
    wandb.setup(settings)
    logger = WandbLogger(
        project=config.logger.wandb_project,
        name=config.name,
        id=wandb_run_id(folder),
        resume="allow",
        save_dir=folder,
        offline=config.logger.wandb == "offline",
        log_model=False,
        config=shown_settings(config) | ({"own": given} if given else {}),
        settings=settings,
    )
    with _command_line_without_secrets():
        _ = logger.experiment  # the property starts the run
    return logger


@contextmanager
def _command_line_without_secrets() -> Iterator[None]:
    """W&B records the command line, which may hold the password of a replay server."""
    command = sys.argv
    sys.argv = safe_words(command)
    try:
        yield
    finally:
        sys.argv = command
