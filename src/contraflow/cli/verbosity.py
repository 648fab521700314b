"""Silence the libraries, so that a user sees contraflow's own lines and progress bars only."""

from __future__ import annotations

import logging
import os
import warnings

_ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_ETAG_TIMEOUT": "5",  # seconds; an unreachable hub must not cost minutes
    "HF_HUB_DOWNLOAD_TIMEOUT": "10",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_SILENT": "true",
}
_LOGGERS = (
    "lightning",
    "lightning.pytorch",
    "lightning.fabric",
    "pytorch_lightning",
    "huggingface_hub",
    "httpx",
)


def is_debugging() -> bool:
    """Whether CONTRAFLOW_DEBUG asks for tracebacks and the messages of libraries."""
    return os.environ.get("CONTRAFLOW_DEBUG", "") not in ("", "0")


def silence_libraries() -> None:
    """Turn off warnings and messages of libraries; variables that the user has set stay.

    Call it before any library is imported: several read their variable once, at import.
    """
    if is_debugging():
        return
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore")
    silence_loggers()


def silence_loggers() -> None:
    """Let loggers of libraries report errors only.

    Call it again after importing Lightning, which sets the level of its loggers at import.
    """
    if is_debugging():
        return
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def show_download_bars() -> None:
    """Show the hub's own progress bars, for `models download`, which spends its time there."""
    os.environ.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)
