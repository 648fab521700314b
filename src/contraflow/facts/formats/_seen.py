"""A mapping of keys in a temporary file, so that millions of keys need no memory."""

from __future__ import annotations

import sqlite3


class Seen:
    """The first value of each key; SQLite deletes its file when the object is garbage-collected."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def first(self, key: str, value: bytes) -> bytes | None:
        """Store the value if the key is new; else return the value that the key has."""
        cursor = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, value))
        if cursor.rowcount > 0:
            return None
        row = self._database.execute("SELECT value FROM seen WHERE key = ?", (key,)).fetchone()
        return bytes(row[0])
