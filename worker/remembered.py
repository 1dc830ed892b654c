"""Logits that were computed once, kept for rows that come again, in a bounded number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable

#: Bytes that an entry takes beside those of its ids and of its logits: two headers of `bytes` and
#: its place in an ordered dictionary, whose table grows by doubling. Measured with tracemalloc on
#: 3,000 to 218,000 entries that came and went: 183 to 265 at the worst moment.
ENTRY_BYTES = 270


class LogitsMemory:
    """What a process remembers, of all versions that it has loaded: at most `limit` bytes.

    Safe for several threads. With the limit 0 nothing is remembered. Of too much, the row that was
    used least recently leaves, first of the version that was used least recently.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._bytes = 0
        #: The versions that have a memory, that used last at the end.
        self._versions: OrderedDict[VersionMemory, None] = OrderedDict()

    @property
    def bytes_held(self) -> int:
        """Bytes that all entries take now."""
        return self._bytes

    def of_version(self) -> "VersionMemory":
        """Begin the memory of a version that was just loaded, on the engine it was loaded with."""
        memory = VersionMemory(self)
        # One that is not entered keeps nothing.
        if self._limit:
            with self._lock:
                self._versions[memory] = None
        return memory

    def find(self, memory: "VersionMemory", keys: Collection[bytes]) -> list[bytes | None]:
        """See `VersionMemory.find`."""
        with self._lock:
            entries = memory.entries
            if not entries:
                return [None] * len(keys)
            found = [entries.get(key) for key in keys]
            for key, logits in zip(keys, found, strict=True):
                if logits is not None:
                    entries.move_to_end(key)
            self._versions.move_to_end(memory)
        return found

    def keep(
        self, memory: "VersionMemory", rows: Iterable[tuple[bytes, bytes]]
    ) -> list[bytes | None]:
        """See `VersionMemory.keep`."""
        others: list[bytes | None] = []
        with self._lock:
            # One that has left, while its last rows were computed, keeps nothing any more.
            if memory not in self._versions:
                return others
            self._versions.move_to_end(memory)
            for key, logits in rows:
                # Whoever was first stays: a row has the logits of its first time.
                known = memory.entries.get(key)
                others.append(known)
                if known is None:
                    memory.entries[key] = logits
                    self._bytes += _size(key, logits)
            self._make_room()
        return others

    def forget(self, memory: "VersionMemory") -> None:
        """See `VersionMemory.forget`."""
        with self._lock:
            self._versions.pop(memory, None)
            self._bytes -= sum(_size(*entry) for entry in memory.entries.items())
            memory.entries = OrderedDict()

    def _make_room(self) -> None:
        for memory in self._versions:
            while self._bytes > self._limit and memory.entries:
                self._bytes -= _size(*memory.entries.popitem(last=False))
            if self._bytes <= self._limit:
                return


class VersionMemory:
    """The logits of one loaded version on one engine; no other's are ever found here.

    A version that is loaded anew begins with an empty one: whatever its engine or its build is
    then, no logits of an older one are left.
    """

    def __init__(self, owner: LogitsMemory) -> None:
        self._owner = owner
        #: Logits by the key of their row, that used last at the end; under the owner's lock.
        self.entries: OrderedDict[bytes, bytes] = OrderedDict()

    def find(self, keys: Collection[bytes]) -> list[bytes | None]:
        """Return of each row its logits, the bytes of float32 [labels]; None if not remembered."""
        return self._owner.find(self, keys)

    def keep(self, rows: Iterable[tuple[bytes, bytes]]) -> list[bytes | None]:
        """Remember rows, each its key and the bytes of its float32 [labels], all of them finite.

        Returns of each what was remembered of it already, None for the others: somebody who computed it
        at the same time was faster. Nothing is returned where nothing is remembered.
        """
        return self._owner.keep(self, rows)

    def forget(self) -> None:
        """Forget everything, for good: the version leaves the memory."""
        self._owner.forget(self)


def _size(key: bytes, logits: bytes) -> int:
    return ENTRY_BYTES + len(key) + len(logits)
