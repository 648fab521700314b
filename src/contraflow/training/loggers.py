"""Loggers of a run: CSV, TensorBoard and Weights & Biases.

W&B is offline by default and never asks for a login.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from contraflow.settings import Config, shown_settings


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


def _csv_version(folder: Path) -> str:
    """A new folder for each start after the first: Lightning deletes the table that it finds."""
    earlier = len(list(folder.rglob("metrics.csv")))
    return f"start_{earlier + 1}" if earlier else ""


def _wandb(config: Config, folder: Path) -> Logger:
    import wandb

    mode: Any = config.logger.wandb
    settings = wandb.Settings(x_disable_stats=True, console="off", silent=True, mode=mode)
    # Silences W&B's warning about `anonymous`, which Lightning sets.
    wandb.setup(settings)
    return WandbLogger(
        project=config.logger.wandb_project,
        name=config.name,
        save_dir=folder,
        offline=config.logger.wandb == "offline",
        log_model=False,
        config=shown_settings(config),
        settings=settings,
    )
