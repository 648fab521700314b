"""A mapping of keys in a temporary file, so that millions of keys need no memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator


class Seen:
    """The first value of each key; SQLite deletes its file when the object is garbage-collected."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute(
            "CREATE TABLE seen (number INTEGER PRIMARY KEY, key TEXT UNIQUE, value BLOB)"
        )
        self._database.execute("BEGIN")

    def first(self, key: str, value: bytes) -> bytes | None:
        """Store the value if the key is new; else return the value that the key has."""
        cursor = self._database.execute(
            "INSERT OR IGNORE INTO seen (key, value) VALUES (?, ?)", (key, value)
        )
        if cursor.rowcount > 0:
            return None
        row = self._database.execute("SELECT value FROM seen WHERE key = ?", (key,)).fetchone()
        return bytes(row[0])

    def replace(self, key: str, value: bytes) -> None:
        """Give a known key another value."""
        self._database.execute("UPDATE seen SET value = ? WHERE key = ?", (value, key))

    def values(self) -> Iterator[bytes]:
        """Yield the values in the order in which their keys were stored."""
        for (value,) in self._database.execute("SELECT value FROM seen ORDER BY number"):
            yield bytes(value)
