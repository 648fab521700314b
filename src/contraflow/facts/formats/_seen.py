"""A set of keys in a temporary file, so that millions of keys need no memory."""

from __future__ import annotations

import sqlite3


class Seen:
    """An append-only set of keys; SQLite deletes its file when the object is garbage-collected."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, key: str) -> bool:
        """Add the key; return whether it is new."""
        cursor = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,))
        return cursor.rowcount > 0
