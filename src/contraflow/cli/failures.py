"""Turn an exception into one line that names the problem and the remedy, and an exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from contraflow.cli.verbosity import is_debugging
from contraflow.errors import INTERRUPTED, OUT_OF_TIME, UserError
from contraflow.system.addresses import without_passwords
from contraflow.system.files import is_disk_full

USER_ERROR = 2
BUG = 1
LOG_NAME = "contraflow-error.log"

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_MODEL_NOT_FOUND = re.compile(
    r"not a local folder|huggingface\.co|offline mode|couldn't connect", re.IGNORECASE
)
_HUB_LIBRARIES = ("huggingface_hub", "httpx", "requests")
_LOCATED_PROBLEM = re.compile(r".+:\d+: ")  # file:line: message
_MORE_PROBLEMS = re.compile(r"^… and (\d+) more problems$")


def report_failure(error: BaseException) -> int:
    """Print one line on standard error, with the notes of the exception; return the exit code.

    A bug also leaves its traceback in a file; CONTRAFLOW_DEBUG=1 prints every traceback.
    """
    line, code = describe(error)
    line = "; ".join([line, *(one_line(note) for note in getattr(error, "__notes__", ()))])
    if code == BUG:
        line += f"; this is a bug: please report it with the traceback in {_write_log(error)}"
    with suppress(OSError):  # nobody reads standard error any more
        if is_debugging():
            print(without_passwords("".join(traceback.format_exception(error))), file=sys.stderr)
        print(f"contraflow: {line}", file=sys.stderr)
    return code


def describe(error: BaseException) -> tuple[str, int]:
    """The line for an exception, without the leading `contraflow: `, and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped", INTERRUPTED
    if isinstance(error, UserError):
        prefix = "" if error.exit_code in (INTERRUPTED, OUT_OF_TIME) else "error: "
        return prefix + one_line(str(error)), error.exit_code
    known = _known_failure(error)
    if known is not None:
        return f"error: {one_line(known)}", USER_ERROR
    return f"error: {one_line(f'{type(error).__name__}: {error}')}", BUG


def one_line(message: str) -> str:
    """The first line of a message without passwords.

    If the lines are a list of `file:line: problem`, the number of further lines follows, and a
    last line that begins with "or", the remedy for all of them.
    """
    stripped = (line.strip() for line in message.strip().splitlines())
    lines = [line for line in stripped if line] or ["no message"]
    first = without_passwords(lines[0])
    if not _LOCATED_PROBLEM.match(lines[0]) or len(lines) == 1:
        return first
    remedy = f"; {without_passwords(lines.pop())}" if lines[-1].startswith("or ") else ""
    more = _MORE_PROBLEMS.match(lines[-1])
    others = len(lines) - 2 + int(more[1]) if more else len(lines) - 1
    s = "" if others == 1 else "s"
    return f"{first}{f' ({others} more such line{s})' if others else ''}{remedy}"


def _known_failure(error: BaseException) -> str | None:
    """The message for a failure of disk, memory or network, which any library may raise."""
    for cause in _causes(error):
        text = str(cause)
        number = cause.errno if isinstance(cause, OSError) else None
        name = getattr(cause, "filename", None)
        place = f"{name}: " if name else ""
        if is_disk_full(cause):
            return f"{place}the disk is full; free some space or write elsewhere (out=…, run_dir=…)"
        if number in _NOT_WRITABLE:
            remedy = "check its permissions or write elsewhere (out=…, run_dir=…, CONTRAFLOW_CACHE)"
            return f"{place}{os.strerror(number or 0).lower()}; {remedy}"
        if _is_out_of_memory(cause):
            return (
                "out of memory; lower n= (questions of a fact), trainer.facts_per_step, "
                "oracle.batch_size or judge.batch_size"
            )
        is_missing_model = (
            isinstance(cause, OSError) and number is None and _MODEL_NOT_FOUND.search(text)
        )
        if _is_from_hub(cause) or is_missing_model:
            return (
                f"a model could not be loaded from the hub ({one_line(text)[:160]}); "
                "check its name and the network; "
                "the packaged default (model=smollm2 judge=minilm) needs no hub"
            )
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return (
        isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
    )


def _is_from_hub(error: BaseException) -> bool:
    return any(kind.__module__.partition(".")[0] in _HUB_LIBRARIES for kind in type(error).__mro__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and the chain of `raise … from`, without errors that were being handled."""
    while error is not None:
        yield error
        error = error.__cause__


def _write_log(error: BaseException) -> Path:
    """Write the traceback to the working folder, or to the temporary folder if that fails."""
    text = without_passwords("".join(traceback.format_exception(error)))
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        path = folder / LOG_NAME
        try:
            path.write_text(text, encoding="utf-8")
        except OSError:
            continue
        return path
    return Path(os.devnull)
