"""Whether two paths name one file, so that writing one would lose the other."""

from __future__ import annotations

from pathlib import Path


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Whether both paths lead to one file or folder, also through links; it need not exist."""
    one, other = Path(one).expanduser(), Path(other).expanduser()
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return one.resolve() == other.resolve()
