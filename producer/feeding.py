"""Feeding a job: chunks into the ledger, messages into the queue, never more than may be open."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol

from db.defaults import RENEW_SECONDS
from db.errors import LabelstreamError
from db.ledger.producing import JobWriter
from producer.sending import Sender

log = logging.getLogger(__name__)

#: Seconds between two looks at how many chunks are still open, at first and at most: each look takes
#: processor time that a slow engine on the same machine could use.
_LOOK_SECONDS = 0.05
_LONGEST_LOOK_SECONDS = 0.25


class Heartbeat(AbstractContextManager["Heartbeat"]):
    """Renews the producer's lease in a thread, however long a read or a wait takes."""

    def __init__(self, writer: JobWriter, *, every: float = RENEW_SECONDS) -> None:
        self._writer = writer
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer-lease", daemon=True)
        #: Why the job is no longer ours; None while it is.
        self.lost: LabelstreamError | None = None

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._writer.renew()
            except LabelstreamError as error:
                self.lost = error
                return


class NewChunk(Protocol):
    """Rows that are to be entered, and what is due when they are."""

    def add(self, writer: JobWriter) -> int | None:
        """Commit them; return the number of a chunk that is to be sent, None if there is none."""

    def settle(self) -> None:
        """Tell the source that they are safe in the ledger."""


class Feeder:
    """Puts chunks into a job and sends their messages, while at most `max_open` are open.

    When so many are open, it goes on only when a quarter of them is done: workers still have the other
    three, and it looks less often. While `hurries` says so, nothing waits for room: what was read is
    to be entered at once.
    """

    def __init__(
        self,
        writer: JobWriter,
        sender: Sender,
        max_open: int,
        *,
        on_tick: Callable[[], None],
        hurries: Callable[[], bool] = lambda: False,
    ) -> None:
        self._writer = writer
        self._sender = sender
        self._max_open = max_open
        self._on_tick = on_tick
        self._hurries = hurries
        # At least as many as are open: counted anew only when it reaches the limit.
        self._open_at_most = max_open

    def feed(self, chunks: Iterable[NewChunk | None], heartbeat: Heartbeat) -> None:
        """Enter every chunk; None says that nothing came for a while.

        The next chunk is asked for when there is room for it: a source that is read without need is
        one whose rows wait in memory. Raises `JobLost` when the job was cancelled or is somebody
        else's.
        """
        source = iter(chunks)
        while True:
            self._wait_for_room(heartbeat)
            try:
                chunk = next(source)
            except StopIteration:
                self._writer.mark_sent()
                return
            if chunk is None:
                self._writer.mark_sent()
            else:
                number = chunk.add(self._writer)
                if number is not None:
                    self._open_at_most += 1
                    self._sender.send(number)
                chunk.settle()
            self._on_tick()

    def _wait_for_room(self, heartbeat: Heartbeat) -> None:
        pause = _LOOK_SECONDS
        room = self._max_open
        while True:
            if heartbeat.lost is not None:
                raise heartbeat.lost
            if self._open_at_most < room or self._hurries():
                return
            self._open_at_most = self._writer.open_chunks()
            if self._open_at_most < room:
                return
            room = self._max_open - self._max_open // 4
            self._writer.mark_sent()
            self._on_tick()
            time.sleep(pause)
            pause = min(pause * 1.2, _LONGEST_LOOK_SECONDS)
