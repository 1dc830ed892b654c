"""The private folder of the socket: short, because a socket's path must be."""

import os
import stat
import tempfile
from pathlib import Path

from db.errors import UsageError

_PREFIX = "labelstream-"
_SOCKET = "redis.sock"

#: Where the keeper hears that its worker is ready; no longer than the other one's name.
_READY_SOCKET = "ready.sock"

#: Longest path of a socket in bytes; the kernels' limits are 104 (macOS) and 108 (Linux).
LONGEST_SOCKET_PATH = 100


def make_runtime_folder(before: Path | None) -> Path:
    """Return the path of the socket in a folder that only this user can enter.

    `before` is the socket of a run that members may still be using: it is kept if it can be.
    Raises `UsageError` if no folder can be made.
    """
    if before is not None and _make_again(before.parent):
        return before
    for parent in _parents():
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        except OSError:
            continue
        if len(os.fsencode(folder / _SOCKET)) <= LONGEST_SOCKET_PATH:
            return folder / _SOCKET
        folder.rmdir()
    raise UsageError(
        f"no private folder for the socket of Redis could be made in {tempfile.gettempdir()}; "
        "set TMPDIR to a folder with a short path that can be written"
    )


def ready_socket(socket_path: Path) -> Path:
    """Return the path of the keeper's own socket beside that of Redis."""
    return socket_path.with_name(_READY_SOCKET)


def remove_runtime_folder(socket_path: Path) -> None:
    """Remove the sockets and their folder, if they are ours."""
    if not _is_private(socket_path.parent):
        return
    try:
        for name in (_SOCKET, _READY_SOCKET):
            (socket_path.parent / name).unlink(missing_ok=True)
        socket_path.parent.rmdir()
    except OSError:
        # Somebody put a file there; it is not ours to remove.
        return


def _parents() -> list[str]:
    # The login session's folder is in memory and emptied at logout, but only if it is private.
    session = os.environ.get("XDG_RUNTIME_DIR")
    first = [session] if session and _is_ours(Path(session)) else []
    return [*first, tempfile.gettempdir(), "/tmp"]  # noqa: S108  (mkdtemp makes a private folder)


def _make_again(folder: Path) -> bool:
    if not folder.name.startswith(_PREFIX):
        return False
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError:
        return False
    return _is_private(folder)


def _is_private(folder: Path) -> bool:
    return folder.name.startswith(_PREFIX) and _is_ours(folder)


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    closed = stat.S_IMODE(found.st_mode) & 0o077 == 0
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and closed
