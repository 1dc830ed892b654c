"""A folder for what is half made, on this machine; its errors are told in one line."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.errors import ServiceUnavailable

#: What a disk says that takes nothing more, among the errors of whoever writes to the folder.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """Give an empty folder whose name begins with `prefix`, gone at the end of the block.

    Raises `ServiceUnavailable` if it cannot be made, or if there is no room for what the block
    writes; an `OSError` of the block that is not the disk's goes on as it is.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise _unusable(error) from None
    try:
        with folder as name:
            yield Path(name)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise _unusable(error) from None


def _unusable(error: OSError) -> ServiceUnavailable:
    where = tempfile.tempdir or "any folder for temporary files"
    return ServiceUnavailable(
        f"nothing can be written to {where} ({error.strerror}); "
        "make room there, or set TMPDIR to a folder with room"
    )
