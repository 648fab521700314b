"""What becomes of an exception: one line that names the thing and the remedy, and an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from contraflow.cli.quiet import debugging
from contraflow.errors import INTERRUPTED, OUT_OF_TIME, UserError
from contraflow.system.addresses import without_passwords
from contraflow.system.files import is_disk_full

USER_ERROR, BUG = 2, 1
LOG_NAME = "contraflow-error.log"

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_MODEL_TEXT = re.compile(
    r"not a local folder|huggingface\.co|offline mode|couldn't connect", re.IGNORECASE
)
_HUB_LIBRARIES = ("huggingface_hub", "httpx", "requests")
_HIDDEN = re.compile(r"^… and (\d+) more problems$")


def tell(error: BaseException) -> int:
    """Print the one line on standard error and return the exit code."""
    line, code = describe(error)
    if code == BUG:
        line += f"; this is a bug: please report it with the traceback in {_write_log(error)}"
    if debugging():
        print(without_passwords("".join(traceback.format_exception(error))), file=sys.stderr)
    print(f"contraflow: {line}", file=sys.stderr)
    return code


def describe(error: BaseException) -> tuple[str, int]:
    """The line without its head, and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped", INTERRUPTED
    if isinstance(error, UserError):
        head = "" if error.exit_code in (INTERRUPTED, OUT_OF_TIME) else "error: "
        return head + one_line(str(error)), error.exit_code
    known = _known(error)
    if known is not None:
        return f"error: {one_line(known)}", USER_ERROR
    return f"error: {one_line(f'{type(error).__name__}: {error}')}", BUG


def one_line(message: str) -> str:
    """The first line without passwords; of a list of problems also how many follow."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()] or [
        "no message"
    ]
    first = without_passwords(lines[0])
    if not re.match(r".+:\d+: ", lines[0]) or len(lines) == 1:
        return first
    hidden = _HIDDEN.match(lines[-1])
    others = len(lines) - 2 + int(hidden[1]) if hidden else len(lines) - 1
    return f"{first} ({others} more such {'line' if others == 1 else 'lines'})"


def _known(error: BaseException) -> str | None:
    """Failures of the machine that any library may raise, as the user would put them."""
    for cause in _chain(error):
        text = str(cause)
        number = cause.errno if isinstance(cause, OSError) else None
        name = getattr(cause, "filename", None)
        place = f"{name}: " if name else ""
        if is_disk_full(cause):
            return f"{place}the disk is full; free some space or write elsewhere (out=…, run_dir=…)"
        if number in _NOT_WRITABLE:
            remedy = "check its permissions or write elsewhere (out=…, run_dir=…, CONTRAFLOW_CACHE)"
            return f"{place}{os.strerror(number or 0).lower()}; {remedy}"
        if (
            isinstance(cause, MemoryError)
            or "out of memory" in text
            or "can't allocate memory" in text
        ):
            return (
                "out of memory; lower trainer.facts_per_step, oracle.batch_size or judge.batch_size"
            )
        if _from_hub(cause) or (
            isinstance(cause, OSError) and number is None and _MODEL_TEXT.search(text)
        ):
            return (
                f"a model could not be had from the hub ({one_line(text)[:160]}); check its name and the "
                "network; the embedded default (model=smollm2 judge=minilm) needs no hub"
            )
    return None


def _from_hub(error: BaseException) -> bool:
    return any(kind.__module__.partition(".")[0] in _HUB_LIBRARIES for kind in type(error).__mro__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from (not what it was raised while handling)."""
    while error is not None:
        yield error
        error = error.__cause__


def _write_log(error: BaseException) -> Path:
    """The traceback in a file: here, or where temporary files go if here is not writable."""
    text = "".join(traceback.format_exception(error))
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        path = folder / LOG_NAME
        try:
            path.write_text(without_passwords(text), encoding="utf-8")
        except OSError:
            continue
        return path
    return Path(os.devnull)
