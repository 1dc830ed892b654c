"""Ctrl-C and TERM: an end in order, and between two steps of the main thread, not in the middle of one.

Python raises `KeyboardInterrupt` wherever the main thread happens to be. In the middle of a driver's
or a pool's code that leaves a transaction open or a lock taken for ever: what cleans up, and every
other thread, then waits for it without end.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Step:
    """How deep the main thread is inside of steps, and whether it was interrupted there."""

    depth = 0
    interrupted = False


def interrupt(*_: object) -> None:
    """Handle a signal: raise `KeyboardInterrupt`, or let the step under way raise it at its end.

    A second signal does not wait for that.
    """
    if _Step.depth and not _Step.interrupted:
        _Step.interrupted = True
        return
    raise KeyboardInterrupt


#: What a person or a supervisor ends a command with.
_ENDING = (signal.SIGINT, signal.SIGTERM)


def heed_signals() -> None:
    """Make TERM end this process as Ctrl-C does: by `KeyboardInterrupt`, between two steps.

    A signal that is ignored, as Ctrl-C is in the background of a shell, stays ignored.
    """
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def ignore_signals() -> None:
    """Ignore what would end this process: it has ended, and its exit status is settled.

    While Python takes itself down its own handlers are gone, and a late signal would turn a status
    of 0 into a death.
    """
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def in_one_piece() -> Iterator[None]:
    """Hold an interrupt back until the block is left; for short steps that others wait for.

    Only where `interrupt` handles the signal, and only in the main thread, which handles signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Step.depth += 1
    try:
        yield
    finally:
        _Step.depth -= 1
        if not _Step.depth and _Step.interrupted:
            _Step.interrupted = False
            raise KeyboardInterrupt
