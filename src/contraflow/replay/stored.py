"""Entries read from a server; those that another program has planted or damaged are skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from contraflow.replay.base import ReplayEntry
from contraflow.replay.codec import PayloadError, decode_entry
from contraflow.replay.connection import Server
from contraflow.replay.keys import Keys

T = TypeVar("T")
_FACTS_PER_READ = 500  # when a whole store is read: about 10 MB per reply at the default capacity


class StoredEntries:
    """Reads the entries of one namespace, each batch in one round trip."""

    def __init__(self, server: Server, keys: Keys, log: Callable[[str], None]) -> None:
        self._server = server
        self._keys = keys
        self._log = log
        self._skipped: dict[tuple[str, str], str] = {}

    @property
    def n_skipped(self) -> int:
        """The number of distinct entries that cannot be read, however often they were met."""
        return len(self._skipped)

    def all(self) -> Iterator[ReplayEntry]:
        """All readable entries, fact by fact, best first."""
        # A limited number of facts per read, so that the server is never busy for long.
        for facts in batched(self._server.call(self.facts), _FACTS_PER_READ):
            for entries in self.of_facts(facts).values():
                yield from entries

    def of_facts(self, facts: Sequence[str]) -> dict[str, list[ReplayEntry]]:
        """The readable entries of these facts, best first."""
        if not facts:
            return {}
        replies = self._server.call(lambda: self._read(facts))
        n_before = len(self._skipped)
        contents: dict[str, list[ReplayEntry]] = {}
        for fact, scores, payloads in zip(facts, replies[::2], replies[1::2], strict=True):
            contents[fact] = self._decode(fact, scores, payloads)
        self._report_skipped(n_before)
        return contents

    def members(self) -> list[bytes]:
        """What the index lists, sorted. One request, which `Server.call` may repeat."""
        members: set[bytes] = self._server.client.smembers(self._keys.index)  # type: ignore[assignment]
        return sorted(members)

    def facts(self) -> list[str]:
        """The listed facts; a name that is not text was planted, and is skipped."""
        names = []
        n_before = len(self._skipped)
        for member in self.members():
            try:
                names.append(member.decode())
            except UnicodeDecodeError:
                self._skipped.setdefault((repr(member)[:80], "-"), "the fact's name is no text")
        self._report_skipped(n_before)
        return names

    def _read(self, facts: Sequence[str]) -> list[Any]:
        """Two replies per fact: ids with priorities, and the payload of each id."""
        with self._server.client.pipeline(transaction=True) as pipe:
            for fact in facts:
                keys = self._keys.of_fact(fact)
                pipe.zrange(keys.ranked, 0, -1, withscores=True)
                pipe.hgetall(keys.payloads)
            return pipe.execute()

    def _decode(
        self, fact: str, scores: Sequence[tuple[bytes, float]], payloads: dict[bytes, bytes]
    ) -> list[ReplayEntry]:
        entries = []
        for raw_id, priority in scores:
            entry_id = raw_id.decode(errors="backslashreplace")
            data = payloads.get(raw_id)
            try:
                entries.append(
                    decode_entry(data, float(priority), fact_key=fact, entry_id=entry_id)
                )
            except PayloadError as error:
                self._skipped.setdefault((fact, entry_id), str(error))
        return sorted(entries, key=lambda entry: entry.sort_key)

    def _report_skipped(self, n_before: int) -> None:
        """Log the first skipped entry, and then each time that their number has doubled."""
        n = len(self._skipped)
        if n == n_before or (n_before and n.bit_length() == n_before.bit_length()):
            return
        (fact, entry_id), reason = list(self._skipped.items())[-1]
        self._log(
            f"replay skips {n} stored {'entry' if n == 1 else 'entries'} that cannot be read, "
            f"the last of fact {fact!r} (id {entry_id[:40]}): {reason:.160}"
        )


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in order, ``size`` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
