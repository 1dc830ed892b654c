"""File locks that the kernel gives back when their holder dies, however it dies."""

import fcntl
import os
import time
from pathlib import Path

from db.errors import UsageError

#: Seconds between two tries to take a lock that somebody else holds.
_TRY_SECONDS = 0.02


class FileLock:
    """A `flock` on `path`, held by this process until it is released or the process ends.

    The file is never removed: whoever opened it before would hold a lock that nobody else sees.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @classmethod
    def inherited(cls, path: Path, descriptor: int) -> "FileLock":
        """Return the lock that the parent process took and left to this one."""
        lock = cls(path)
        lock._descriptor = descriptor
        os.set_inheritable(descriptor, False)
        return lock

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    @property
    def descriptor(self) -> int:
        """The open file that carries the lock; a child that inherits it holds the lock too."""
        assert self._descriptor is not None, "the lock is not held"  # noqa: S101
        return self._descriptor

    def acquire(self, *, shared: bool = False, timeout: float = 0.0) -> bool:
        """Take the lock, alone or with other sharers, and tell whether it was had in time.

        Raises `UsageError` where the file cannot be opened or the file system has no locks.
        """
        deadline = time.monotonic() + timeout
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(
                f"lock file {self._path} cannot be opened ({error.strerror}); "
                "set LABELSTREAM_HOME_DIR to a folder of your own"
            ) from None
        try:
            while not _try(descriptor, kind, self._path):
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return False
                time.sleep(_TRY_SECONDS)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go of the lock; harmless if it is not held."""
        if self._descriptor is not None:
            # Closed, never unlocked: an unlock would also take it from a child that inherited it.
            os.close(self._descriptor)
            self._descriptor = None


def _try(descriptor: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UsageError(
            f"the file system of {path.parent} has no file locks ({error.strerror}); "
            "set LABELSTREAM_HOME_DIR to a folder on a local disk"
        ) from None
    return True
