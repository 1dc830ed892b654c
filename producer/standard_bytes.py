"""The bytes of standard input, as they come, until they end or are drained."""

import os
import select
import threading
import time

from db.errors import UsageError
from producer.rows import ReadingStopped, SourceError

#: What people and the ledger call it.
NAME = "standard input"

#: Bytes that are read at once: what a pipe holds.
_READ_BYTES = 1 << 16

#: Seconds between two looks at whether the reading is to end.
_LOOK_SECONDS = 0.1

#: Seconds for which the end of a line that has begun is waited for after a drain.
_LINE_SECONDS = 1.0


class StandardBytes:
    """A descriptor that is read once, from where it stands.

    After a drain it is read on to the end of the line that has begun, for a moment. Then it ends;
    if it `continues`, for somebody gives the same bytes again, it stops instead, and a line that has
    begun is left for then.
    """

    def __init__(self, descriptor: int, *, continues: bool) -> None:
        self._descriptor = descriptor
        self._continues = continues
        self._read = 0
        self._ended = False
        self._in_line = False
        #: Set when no more is to be read.
        self.drain = threading.Event()

    @property
    def consumed(self) -> int:
        """Bytes that were read."""
        return self._read

    def waits(self, seconds: float) -> bool:
        """Whether something can be read, or its end is reached, within `seconds`."""
        if self._ended:
            return True
        ready, _, _ = select.select([self._descriptor], [], [], max(seconds, 0))
        return bool(ready)

    def read(self, size: int) -> bytes:
        """Return what is there, at most `size` bytes, waiting for the first; nothing at the end.

        Raises `ReadingStopped` after a drain. Where it cannot be read, raises `SourceError`, and
        `UsageError` if it continues: the same bytes may be given another time.
        """
        while not self.drain.is_set():
            if self.waits(_LOOK_SECONDS):
                return self._take(min(size, _READ_BYTES))
        rest = self._rest_of_line()
        if not rest and self._continues and not self._ended:
            raise ReadingStopped
        return rest

    def close(self) -> None:
        """Leave it open: it is not ours."""

    def _rest_of_line(self) -> bytes:
        """Return what completes the line that has begun, byte by byte: what follows is not ours."""
        deadline = time.monotonic() + _LINE_SECONDS
        rest = b""
        while self._in_line and self.waits(deadline - time.monotonic()):
            rest += self._take(1)
        self._in_line = False
        return rest

    def _take(self, size: int) -> bytes:
        if self._ended:
            return b""
        try:
            data = os.read(self._descriptor, size)
        except OSError as error:
            reason = f"{NAME} cannot be read: {error.strerror}"
            raise (UsageError if self._continues else SourceError)(reason) from None
        self._ended = not data
        self._in_line = bool(data) and not data.endswith((b"\n", b"\r"))
        self._read += len(data)
        return data
