"""How a worker tells its supervisor that it is ready: the protocol of systemd's sd_notify(3)."""

import os
import socket
from contextlib import suppress
from pathlib import Path

#: Where a supervisor says that it listens.
NOTIFY_SOCKET = "NOTIFY_SOCKET"

_READY = b"READY=1"

#: Longest datagram that is looked at, in bytes.
_DATAGRAM = 4096


def tell_ready() -> None:
    """Tell the supervisor, if there is one that listens, that this process is ready."""
    address = os.environ.get(NOTIFY_SOCKET)
    if not address:
        return
    # Nobody's start may fail because nobody listens.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        # "@" stands for the byte with which the names begin that are in no file system.
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.send(_READY)


class Readiness:
    """The supervisor's end, at `path`: hears whether its child has become ready."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path))
        self.environment = {NOTIFY_SOCKET: str(path)}

    def heard(self) -> bool:
        """Whether a child has told since the last call that it is ready."""
        ready = False
        with suppress(BlockingIOError):
            while True:
                ready = _READY in self._socket.recv(_DATAGRAM).splitlines() or ready
        return ready

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
