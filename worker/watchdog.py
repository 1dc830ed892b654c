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
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        #: When each call that is inside has had its time; the earliest came first.
        self._deadlines: dict[object, float] = {}

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Guard what happens inside the block."""
        if self._seconds is None:
            yield
            return
        call = object()
        with self._lock:
            self._deadlines[call] = time.monotonic() + self._seconds
            if len(self._deadlines) == 1:
                self._arm(self._seconds)
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
