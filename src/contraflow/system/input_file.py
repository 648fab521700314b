"""A file that is read more than once, so that it must be one that can be."""

from __future__ import annotations

import stat
from pathlib import Path

from contraflow.errors import UserError


def require_file(path: Path, *, key: str = "", of: str = "file") -> None:
    """Check that a path is a file that can be read again.

    Args:
        key: of the argument, as in `in=`; goes before the path in a message.
        of: what the file is, such as "facts file".

    Raises: UserError if it is missing, a folder, or a pipe or device, which is empty when it is
        read again.
    """
    where = f"{key}={path}" if key else str(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"{where}: no such {of}; check the path") from None
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror}); check the path") from None
    if stat.S_ISDIR(mode):
        raise UserError(f"{where}: is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise UserError(
            f"{where}: is a pipe or a device, which can be read only once; save it to a file first"
        )
