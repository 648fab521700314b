"""Read a checkpoint of a run; a file that was cut, or is something else, is refused by its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contraflow.errors import UserError

LAST = "last.ckpt"
BEST = "best.ckpt"
_KEYS = ("state_dict", "global_step", "replay")


def read_checkpoint(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """Return the content of a checkpoint, tensors only.

    Raises: UserError naming the file and the remedy when it is not a whole checkpoint.
    """
    content = _content(path, device)
    if isinstance(content, str):
        raise UserError(f"{path}: {content}; {_remedy(path)}")
    return content


def _content(path: Path, device: Any) -> dict[str, Any] | str:
    """The content of a checkpoint, or why there is none."""
    import torch  # slow to import

    try:
        if path.stat().st_size == 0:
            return "is empty (0 bytes), so it was cut"
        content = torch.load(path, map_location=device, weights_only=True)
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception:  # zip, pickle and torch each have exceptions of their own
        return "is not a whole checkpoint: it was cut or damaged, or is another kind of file"
    if not isinstance(content, dict) or any(key not in content for key in _KEYS):
        return "is not a checkpoint that contraflow wrote"
    return content


def _remedy(path: Path) -> str:
    if path.name != LAST:
        return "copy it again, or remove it: the best of the steps to come takes its place"
    best = path.with_name(BEST)
    found = _content(best, "cpu") if best.is_file() else ""
    if isinstance(found, dict):
        return (
            f"copy it again, or copy {BEST} over it to go on from step {found['global_step']}, "
            "or remove it to start from the beginning"
        )
    return "copy it again, or remove it to start from the beginning"
