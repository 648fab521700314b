"""Libraries say what helps their authors; a user who trains wants our lines and the progress bars."""

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


def debugging() -> bool:
    """Whether CONTRAFLOW_DEBUG asks for everything."""
    return os.environ.get("CONTRAFLOW_DEBUG", "") not in ("", "0")


def be_quiet() -> None:
    """Before any library is imported, because several read these once; what the user has set stays."""
    if debugging():
        return
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore")
    quiet_loggers()


def quiet_loggers() -> None:
    """Again after an import: Lightning sets the level of its loggers as it is imported."""
    if debugging():
        return
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


def show_download_bars() -> None:
    """`models download` is the one command where the hub's own bars are what is waited for."""
    os.environ.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)
