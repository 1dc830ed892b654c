"""Leaving a source that has no end: the first signal drains, the second leaves at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from db.interrupts import interrupt


class Drain(threading.Event):
    """Set when no more is to be read; what was read is entered and, if asked for, waited for.

    The main thread, in which signals are handled, asks with `is_set` and never waits for it: an
    event is not set while its own lock is held by the thread that was interrupted.
    """


@contextmanager
def draining(drain: Drain) -> Iterator[None]:
    """Make the first Ctrl-C or TERM set `drain`, and each further one raise `KeyboardInterrupt`.

    The handler says nothing: it may have come into the middle of a line on the screen. A signal that
    is ignored, as Ctrl-C is in the background of a shell, stays ignored.
    """

    def handle(*_: object) -> None:
        if drain.is_set():
            interrupt()
        drain.set()

    before = {
        number: signal.signal(number, handle)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
