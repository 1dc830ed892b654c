"""Ends a process whose native code does not come back."""

import faulthandler
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: The real stderr, whatever a framework has put in place of `sys.stderr`.
_STDERR = 2

#: The shortest time that can be armed, in seconds: what is left may be nothing.
_SHORTEST = 0.001


class Watchdog:
    """Ends the process, with all threads' traces on stderr, when a guarded call takes `seconds`.

    Several threads may be inside at once. None: nothing is ever ended. A watchdog thread of
    Python's own could not do this, since native code may hold the interpreter's lock; and of the
    timer that can there is one a process, so that only one `Watchdog` should be at work.

    In a worker the micro-batches are guarded, those by which an engine warms up among them, and
    the tokenising of a chunk. Not guarded are:

    - Loading an engine. No chunk is held meanwhile, and the version before serves on, which it
      could not if the process ended. A merge is a child process with a limit of its own.
    - Writing. What it waits for is the database, and that is no row's fault. The lease is renewed
      for a limited time, after which another worker may have the chunk.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        #: When each call that is inside has had its time.
        self._deadlines: dict[object, float] = {}

    @contextmanager
    def guarding(self, seconds: float | None = None) -> Iterator[None]:
        """Guard what happens inside the block, for `seconds` if they are given."""
        if self._seconds is None:
            yield
            return
        call = object()
        limit = self._seconds if seconds is None else seconds
        with self._lock:
            ends = time.monotonic() + limit
            if all(ends < other for other in self._deadlines.values()):
                self._arm(limit)
            self._deadlines[call] = ends
        try:
            yield
        finally:
            with self._lock:
                del self._deadlines[call]
                if self._deadlines:
                    earliest = min(self._deadlines.values())
                    self._arm(max(earliest - time.monotonic(), _SHORTEST))
                else:
                    faulthandler.cancel_dump_traceback_later()

    @staticmethod
    def _arm(seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
