"""Ends a process whose native code does not come back."""

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: The real stderr, whatever a framework has put in place of `sys.stderr`.
_STDERR = 2

#: The process that a container begins with.
_INIT = 1

#: The shortest time that can be armed, in seconds: what is left may be nothing, and 0 disarms.
_SHORTEST = 0.001


class Watchdog:
    """Ends the process, with all threads' traces on stderr, when a guarded call takes `seconds`.

    Several threads may be inside at once. None: nothing is ever ended. A watchdog thread of
    Python's own could not do this, since native code may hold the interpreter's lock: the kernel's
    timer sends SIGALRM, whose handler writes the traces in C and then lets the signal end the
    process, as it does by default. There is one such timer a process, so that only one `Watchdog`
    should be at work. (`faulthandler.dump_traceback_later` starts a thread each time, and joins it
    with the interpreter's lock held: two milliseconds a micro-batch.)

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
        self._armed_once = False

    @contextmanager
    def guarding(self, seconds: float | None = None) -> Iterator[None]:
        """Guard what happens inside the block, for `seconds` if they are given."""
        if self._seconds is None:
            yield
            return
        call = object()
        limit = self._seconds if seconds is None else seconds
        with self._lock:
            self._deadlines[call] = time.monotonic() + limit
            self._arm()
        try:
            yield
        finally:
            with self._lock:
                del self._deadlines[call]
                self._arm()

    def _arm(self) -> None:
        """Set the timer to the earliest deadline, or stop it where there is none."""
        left = 0.0
        if self._deadlines:
            left = max(min(self._deadlines.values()) - time.monotonic(), _SHORTEST)
        if os.getpid() == _INIT:
            _arm_init(left)
            return
        if not self._armed_once:
            self._armed_once = True
            faulthandler.register(signal.SIGALRM, file=_STDERR, all_threads=True, chain=True)
        signal.setitimer(signal.ITIMER_REAL, left)


def _arm_init(left: float) -> None:
    """Do so in the first process of a container, which no signal ends that it does not handle."""
    faulthandler.cancel_dump_traceback_later()
    if left:
        faulthandler.dump_traceback_later(left, exit=True, file=_STDERR)
