"""Seconds of computing, shared among what is computed at once."""

import time
from collections.abc import Callable


class SharedClock:
    """Tells each of several things that happen at once its part of the time.

    Two that run side by side for a second have had half of it each, so that the parts of all are the
    time in which anything ran. Not safe for several threads: its owner holds a lock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: How many things are under way.
        self.under_way = 0
        #: Seconds that one which had always been under way would have had.
        self._share = 0.0
        self._at = clock()

    def begin(self) -> float:
        """Let one more thing begin; what is returned is for `since`."""
        share = self._advanced()
        self.under_way += 1
        return share

    def since(self, begun: float) -> float:
        """Return the seconds that what began then has had until now."""
        return self._advanced() - begun

    def end(self) -> None:
        """Let one thing end."""
        self._advanced()
        self.under_way -= 1

    def _advanced(self) -> float:
        now = self._clock()
        if self.under_way:
            self._share += (now - self._at) / self.under_way
        self._at = now
        return self._share
