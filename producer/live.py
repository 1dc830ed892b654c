"""A source without an end: read in a thread of its own, entered in chunks that close by time too."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from db.defaults import CHUNK_BYTES, LIVE_BYTES, LIVE_CHUNKS, MAX_WAIT_SECONDS
from producer.arrivals import Arrival, Arrivals, read_into
from producer.feeding import NewChunk
from producer.rows import ReadingStopped

Item = TypeVar("Item")

#: Seconds of silence after which it is told that nothing came, so that the job is looked after.
_SILENCE_SECONDS = 0.2

#: Seconds after a drain for which a thread that reads may take to end.
_DRAIN_SECONDS = 5.0


#: Where a reader puts an item that it has read, and the bytes that it counts for; waits for room.
Sink = Callable[[Item, int], None]


@dataclass(frozen=True)
class Pace:
    """When a chunk of a live source is closed: whichever is first."""

    rows: int
    #: Seconds after its first row came.
    seconds: float = MAX_WAIT_SECONDS
    bytes: int = CHUNK_BYTES


class LiveChunks(Generic[Item]):
    """The chunks of a source that `read` reads into a sink, each made by `make` of its items.

    `read` runs in a thread of its own, and is to end soon after `drain` is set: by raising
    `ReadingStopped` where there is more to come. Iterating gives None at least a few times a second while nothing
    comes; after a drain what was read is still given. An error of `read` is raised after that.
    """

    def __init__(
        self,
        read: Callable[[Sink[Item]], None],
        make: Callable[[list[Item]], NewChunk],
        pace: Pace,
        drain: threading.Event,
        *,
        name: str = "source",
    ) -> None:
        self._read = read
        self._make = make
        self._pace = pace
        self._drain = drain
        self._name = name
        self._arrivals: Arrivals[Item] = Arrivals(LIVE_CHUNKS * pace.rows, LIVE_BYTES)
        self._held: list[Arrival[Item]] = []
        self._size = 0

    @property
    def unentered(self) -> int:
        """Items that were read and are in no chunk that was given out yet."""
        return len(self._held) + len(self._arrivals)

    def __iter__(self) -> Iterator[NewChunk | None]:
        """Begin to read, and yield chunks; to be called once."""
        arrivals = self._arrivals
        read_into(arrivals, lambda: self._read(arrivals.put), self._name)
        patience = _Patience(self._drain)
        try:
            while True:
                came = self._take()
                if self._is_due(patience):
                    items = [arrival.item for arrival in self._held]
                    yield self._make(items)
                    self._held, self._size = [], 0
                elif arrivals.exhausted or patience.is_over:
                    break
                elif not came:
                    yield None
        finally:
            arrivals.close()
        error = arrivals.error if arrivals.exhausted else None
        if error is not None and not isinstance(error, ReadingStopped):
            raise error

    def _take(self) -> bool:
        """Wait for more, as long as the chunk that has begun may wait; return whether some came."""
        pace = self._pace
        wait = min(self._wait_left(), _SILENCE_SECONDS)
        fresh = self._arrivals.take(pace.rows - len(self._held), pace.bytes - self._size, wait)
        self._held += fresh
        self._size += sum(arrival.size for arrival in fresh)
        return bool(fresh)

    def _wait_left(self) -> float:
        if not self._held:
            return float("inf")
        return self._held[0].came + self._pace.seconds - time.monotonic()

    def _is_due(self, patience: "_Patience") -> bool:
        if not self._held:
            return False
        return (
            len(self._held) >= self._pace.rows
            or self._size >= self._pace.bytes
            or self._wait_left() <= 0
            or self._arrivals.exhausted
            or patience.is_over
        )


class _Patience:
    """How long a thread that reads is waited for after a drain: it may hang in a read."""

    def __init__(self, drain: threading.Event) -> None:
        self._drain = drain
        self._until: float | None = None

    @property
    def is_over(self) -> bool:
        if not self._drain.is_set():
            return False
        if self._until is None:
            self._until = time.monotonic() + _DRAIN_SECONDS
        return time.monotonic() >= self._until
