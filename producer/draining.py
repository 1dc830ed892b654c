"""Leaving a source that has no end: the first signal drains, the second leaves at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Drain(threading.Event):
    """Set when no more is to be read; what was read is entered and, if asked for, waited for."""


@contextmanager
def draining(on_first: Callable[[], None]) -> Iterator[Drain]:
    """Make the first Ctrl-C or TERM set the drain, and each further one raise `KeyboardInterrupt`.

    `on_first` is called in the main thread, from the signal's handler: to say what happens now.
    """
    drain = Drain()

    def handle(*_: object) -> None:
        if drain.is_set():
            raise KeyboardInterrupt
        drain.set()
        on_first()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield drain
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
