"""Where an export goes: a file that appears whole or not at all, or stdout."""

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from db.errors import UsageError


@contextmanager
def whole_file(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open a file that takes its name only when the block has ended without an error.

    Until then it has another name in the same folder, and it is on the disk before it is renamed.
    Raises `UsageError` if the file exists (unless `force`), if `path` is a folder or a device, or
    if it cannot be written.
    """
    target = _target(path, force=force)
    part = target.with_name(f".labelstream-{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror or error}), and nothing was left there; "
            "see that its folder exists, may be written and has room"
        ) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Open stdout for bytes; it stays open.

    Raises `UsageError` if it cannot be written, but lets `BrokenPipeError` pass: a reader that
    has seen enough is no error.
    """
    sys.stdout.flush()
    try:
        # A stream of its own: what Python's could not write, it would try to write again at exit.
        with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(
            f"standard output cannot be written ({error.strerror or error}); "
            "see that there is room, or give --out PATH"
        ) from None


def _target(path: Path, *, force: bool) -> Path:
    try:
        # A link is followed: the file that it names is replaced, not the link.
        target = path.resolve()
        mode = target.stat().st_mode
    except FileNotFoundError:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UsageError(f"{path} cannot be written ({reason}); give another --out") from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is no regular file; leave --out out and redirect stdout")
    if not force:
        raise UsageError(f"{path} exists already; give another --out, or --force to replace it")
    return target
