"""What the C library keeps of freed memory, given back to the system now and then."""

import ctypes
import time
from collections.abc import Callable

#: Seconds between two times. One takes some 10 ms; the blocks of a micro-batch are taken anew meanwhile.
_SECONDS = 2.0


class Heap:
    """The C library's heap, under blocks of many sizes that are taken and freed all the time.

    A row's arrays, of other threads, come to lie between a model's large blocks. So the holes that these
    leave are seldom reused, nor are they at the end of the heap, from where alone they are given back: what
    is free grows to several times what is used. `give_back` is what does it; glibc's by itself, and
    nothing where the C library has none.
    """

    def __init__(
        self,
        give_back: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._give_back = give_back or trim()
        self._clock = clock
        self._given_back_at = clock()

    def used(self) -> None:
        """Give back what is free, if that is due; called after each use of much memory."""
        now = self._clock()
        if now - self._given_back_at >= _SECONDS:
            self._given_back_at = now
            self._give_back()


def trim() -> Callable[[], object]:
    """Return what gives all whole pages that are free back to the system, in any place of the heap."""
    try:
        trim_to = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return lambda: None
    trim_to.argtypes = [ctypes.c_size_t]
    return lambda: trim_to(0)
