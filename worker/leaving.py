"""How a worker leaves: in order if it can, in time in any case, at once when it is told twice."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable

from db.defaults import LEAVE_SECONDS, SIGN_OFF_SECONDS

log = logging.getLogger(__name__)

#: Seconds between two looks at whether anything is still held.
_LOOK_SECONDS = 0.1


class Departure:
    """Ends the process when its orderly end takes too long.

    Nobody can interrupt a micro-batch, a load, or a call of Redis or the database that is not
    answered. `holds` says how many chunks this process holds: these have `seconds`, counted from
    `begin`, to be labelled or handed back, and what is left then is left to its leases. All that
    comes after them is good manners, and has `sign_off` seconds.
    """

    def __init__(
        self,
        holds: Callable[[], int],
        *,
        seconds: float = LEAVE_SECONDS,
        sign_off: float = SIGN_OFF_SECONDS,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        self._holds = holds
        self._seconds = seconds
        self._sign_off = sign_off
        self._end = end
        #: Beside the event, whose lock the interrupted call may hold.
        self._told = False
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="departure", daemon=True)

    def start(self) -> None:
        """Wait for `begin`, in a thread: a signal handler must not start one."""
        self._thread.start()

    def begin(self) -> None:
        """Count from now on, and let the next TERM or Ctrl-C end the process at once.

        To be called by the main thread, also in the middle of a signal handler: a second signal may
        come into that of the first, which has not called this yet.
        """
        if self._told:
            self._end_at_once(signal.SIGTERM)
        self._told = True
        self._begun.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end_at_once)

    def _end_at_once(self, number: int, *_: object) -> None:
        # Not by the log: the signal may have come while it was being written to.
        os.write(2, b"left at once; what was held is labelled by others when its leases run out\n")
        self._end(128 + number)

    def _run(self) -> None:
        self._begun.wait()
        last = time.monotonic() + self._seconds
        while self._holds() and time.monotonic() < last:
            time.sleep(_LOOK_SECONDS)
        held = self._holds()
        if held:
            log.warning(
                "%s chunks are not done after %.0f s; they are left to their leases",
                held,
                self._seconds,
            )
        else:
            time.sleep(min(self._sign_off, max(last - time.monotonic(), 0)))
            log.warning("the broker or the database does not answer; left without a word to it")
        self._end(0)
