"""What a reading thread has read and nobody has entered yet: bounded by items and by bytes."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

#: Seconds after which a thread that waits for room looks whether anybody still wants its items.
_LOOK_SECONDS = 0.2


class NobodyReads(Exception):
    """Whoever took the arrivals has left; there is no use in reading on."""


@dataclass(frozen=True, slots=True)
class Arrival(Generic[Item]):
    """One item, the bytes that it counts for, and when it came (`time.monotonic`)."""

    item: Item
    size: int
    came: float


class Arrivals(Generic[Item]):
    """A queue between the thread that reads a source and the one that enters its rows.

    It holds at most `most_items`, and no more once they are `most_bytes`: the reader then waits, and
    with it whoever writes the source.
    """

    def __init__(self, most_items: int, most_bytes: int) -> None:
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._waiting: deque[Arrival[Item]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._closed = False

    def put(self, item: Item, size: int) -> None:
        """Add an item, once there is room for it; raises `NobodyReads` when there never will be."""
        with self._changed:
            while self._is_full() and not self._closed:
                self._changed.wait(_LOOK_SECONDS)
            if self._closed:
                raise NobodyReads
            self._waiting.append(Arrival(item, size, time.monotonic()))
            self._bytes += size
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Tell that nothing more comes, and why, if not because the source has no more."""
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify_all()

    def take(self, items: int, size: int, seconds: float) -> list[Arrival[Item]]:
        """Return what is there, oldest first, waiting at most `seconds` for the first of it.

        At most `items`, and none after those that make up `size` bytes.
        """
        taken: list[Arrival[Item]] = []
        with self._changed:
            if not self._waiting and not self._ended and seconds > 0:
                self._changed.wait_for(lambda: self._waiting or self._ended, seconds)
            while self._waiting and len(taken) < items and size > 0:
                arrival = self._waiting.popleft()
                size -= arrival.size
                self._bytes -= arrival.size
                taken.append(arrival)
            if taken:
                self._changed.notify_all()
        return taken

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left and nothing more comes."""
        with self._changed:
            return self._ended and not self._waiting

    @property
    def error(self) -> BaseException | None:
        """Why nothing more comes; None where the source simply ended."""
        return self._error

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting)

    def close(self) -> None:
        """Let the reader go: what it still puts is not wanted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._most_items or self._bytes >= self._most_bytes


def read_into(arrivals: Arrivals[Item], read: Callable[[], None], name: str) -> threading.Thread:
    """Run `read`, which puts items into `arrivals`, in a thread of its own; it ends them in the end."""

    def run() -> None:
        error: BaseException | None = None
        try:
            read()
        except NobodyReads:
            return
        except BaseException as failure:  # noqa: BLE001  (told where the arrivals are taken)
            error = failure
        arrivals.end(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
