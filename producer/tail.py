"""The bytes of a file that grows: read on and on, until its name means another file."""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable

from db.errors import UsageError
from producer.rows import ReadingStopped

#: Seconds between two looks at a file that has nothing new.
_LOOK_SECONDS = 0.2

#: Seconds for which a file that was rotated must be quiet: its writer may not know of it yet.
QUIET_SECONDS = 1.0

#: Bytes of a file's beginning by which it is known again; an inode alone is used for the next file.
BEGINNING_BYTES = 1024


class Tail:
    """One file, from its opening until it is over; its name may change meanwhile.

    It is over when `is_replaced` says so of its inode and nothing was written for a while, or when
    it was truncated. Raises `FileNotFoundError` if it is not there, and `UsageError` if it cannot be
    opened.
    """

    def __init__(
        self, path: str, drain: threading.Event, is_replaced: Callable[[int], bool]
    ) -> None:
        self._name = path
        self._drain = drain
        self._is_replaced = is_replaced
        self._descriptor = _open(path)
        status = os.fstat(self._descriptor)
        self.inode = status.st_ino
        #: Bytes before what is read next.
        self.offset = 0
        #: Whether it became shorter than what was read, or begins otherwise.
        self.truncated = False
        #: The first bytes, as many as were read, at most `BEGINNING_BYTES`.
        self.beginning = b""

    @property
    def consumed(self) -> int:
        """Bytes before what is read next."""
        return self.offset

    @property
    def modified(self) -> int:
        """When it was written last, in nanoseconds."""
        return os.fstat(self._descriptor).st_mtime_ns

    def seek(self, offset: int) -> None:
        """Go on reading at `offset`."""
        self.offset = offset
        self.beginning = self._read(min(offset, BEGINNING_BYTES), 0)

    def restart(self) -> None:
        """Read it from its start, after it was truncated."""
        self.truncated = False
        self.seek(0)

    def is_the_one(self, offset: int, begins: str) -> bool:
        """Whether this may be a file that was read up to `offset` and began so."""
        if os.fstat(self._descriptor).st_size < offset:
            return False
        return fingerprint(self._read(min(offset, BEGINNING_BYTES), 0), offset) == begins

    def read(self, size: int) -> bytes:
        """Return what is new, at most `size` bytes, waiting for it; nothing when the file is over.

        Raises `ReadingStopped` after a drain, and `UsageError` if it cannot be read. A file that was
        removed is read to its end even then: nobody can go on with it another time.
        """
        quiet_until: float | None = None
        while True:
            is_drained = self._drain.is_set()
            if is_drained and os.fstat(self._descriptor).st_nlink:
                raise ReadingStopped
            if self.truncated or self._shrunk():
                self.truncated = True
                return b""
            data = self._read(size, self.offset)
            if data:
                self.offset += len(data)
                if len(self.beginning) < BEGINNING_BYTES:
                    self.beginning = self._read(min(self.offset, BEGINNING_BYTES), 0)
                return data
            if is_drained:
                return b""
            if not self._is_replaced(self.inode):
                quiet_until = None
            elif quiet_until is None:
                quiet_until = time.monotonic() + QUIET_SECONDS
            elif time.monotonic() >= quiet_until:
                return b""
            self._drain.wait(_LOOK_SECONDS)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _shrunk(self) -> bool:
        if os.fstat(self._descriptor).st_size < self.offset:
            return True
        return self._read(len(self.beginning), 0) != self.beginning

    def _read(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise UsageError(
                f"{self._name} cannot be read: {error.strerror}; "
                "what was read is kept, and the same command goes on"
            ) from None


def fingerprint(beginning: bytes, offset: int) -> str:
    """Return what tells a file, of which `offset` bytes were read, by how it begins."""
    return hashlib.sha256(beginning[:offset]).hexdigest()[:32]


def _open(path: str) -> int:
    try:
        # A pipe would keep this waiting for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path} is no regular file any more; --follow reads one growing file")
    return descriptor
