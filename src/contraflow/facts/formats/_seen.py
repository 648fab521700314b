"""Have we had this before? Kept in a temporary file on disk, so that millions of keys take no
memory.
"""

from __future__ import annotations

import sqlite3


class Seen:
    """A set that only grows; SQLite removes its file by itself when the object goes."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, key: str) -> bool:
        """Whether the key is new."""
        return bool(
            self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount
        )
