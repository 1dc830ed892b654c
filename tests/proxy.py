"""A TCP proxy on loopback whose connection a test can cut, silence and restore."""

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import make_url

#: Bytes that one direction of a connection takes over at once.
_BUFFER = 65_536

#: Seconds between two looks of a thread at whether it may go on or must end.
_LOOK_SECONDS = 0.02

_FLOWS, _MUTE, _CUT, _CLOSED = "flows", "mute", "cut", "closed"


class TcpProxy:
    """Forwards connections to `target_host`:`target_port` until it is told otherwise.

    A host that begins with a slash is the folder of PostgreSQL's Unix sockets, as libpq has it.
    Every connection has threads of its own, so that a silent one holds up nobody.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._state = _FLOWS
        self._listener = socket.create_server(("127.0.0.1", 0))
        #: Where clients reach it, on 127.0.0.1.
        self.port: int = self._listener.getsockname()[1]
        #: Connections that were taken, ever.
        self.accepted = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._listen, name="proxy", daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> "TcpProxy":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def url(self, url: str) -> str:
        """Return `url` with this proxy in place of its server."""
        through = make_url(url).set(host="127.0.0.1", port=self.port)
        # The folder of a Unix socket stands in the query.
        query = {
            name: value for name, value in through.query.items() if name not in ("host", "port")
        }
        return through.set(query=query).render_as_string(hide_password=False)

    def cut(self) -> None:
        """Break every connection, and each new one as soon as it is made."""
        with self._lock:
            self._state = _CUT
            for end in self._open:
                _reset(end)

    def black_hole(self) -> None:
        """Keep connections, and take new ones, but forward nothing in either direction.

        What clients still send is held back, and goes to the server after `restore`, as it does
        when a frozen server goes on.
        """
        with self._lock:
            self._state = _MUTE

    def restore(self) -> None:
        """Forward again, also for the connections that were silent."""
        with self._lock:
            self._state = _FLOWS

    def close(self) -> None:
        """Break every connection and listen no more."""
        self.cut()
        with self._lock:
            self._state = _CLOSED
        for thread in self._threads:
            thread.join(timeout=10)
        self._listener.close()

    def _listen(self) -> None:
        while self._state != _CLOSED:
            if not select.select([self._listener], [], [], _LOOK_SECONDS)[0]:
                continue
            client, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            with self._lock:
                self.accepted += 1
                self._open.add(client)
                if self._state == _CUT:
                    _reset(client)
            self._threads = [known for known in self._threads if known.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            if not self._wait_for_flow():
                return
            server = self._connect()
            with self._lock:
                self._open.add(server)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
        except OSError:
            # Either end broke, or the server is not there: so does the other end.
            pass
        finally:
            with self._lock:
                for end in (client, server):
                    if end is not None:
                        self._open.discard(end)
                        end.close()

    def _connect(self) -> socket.socket:
        host, port = self._target
        if not host.startswith("/"):
            return socket.create_connection((host, port), timeout=10)
        server = socket.socket(socket.AF_UNIX)
        server.settimeout(10)
        server.connect(str(Path(host) / f".s.PGSQL.{port}"))
        return server

    def _wait_for_flow(self) -> bool:
        """Wait while the proxy is mute; whether it forwards then."""
        while self._state == _MUTE:
            threading.Event().wait(_LOOK_SECONDS)
        return self._state == _FLOWS

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        """Forward until one end is closed, and then close the other for this direction."""
        with contextlib.suppress(OSError, ValueError):
            while self._wait_for_flow():
                if not select.select([source], [], [], _LOOK_SECONDS)[0]:
                    continue
                data = source.recv(_BUFFER)
                # Gone silent between the look and the bytes: these are held back as well.
                if not data or not self._wait_for_flow():
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(url: str) -> Iterator[TcpProxy]:
    """Run a proxy in front of the Redis or PostgreSQL that `url` names."""
    parsed = make_url(url)
    folder = parsed.query.get("host")
    host = parsed.host or (folder if isinstance(folder, str) else None) or "127.0.0.1"
    port = parsed.port or int(str(parsed.query.get("port", 0)))
    port = port or (5432 if parsed.get_backend_name() == "postgresql" else 6379)
    with TcpProxy(host, port) as proxy:
        yield proxy


def _reset(end: socket.socket) -> None:
    """Break a connection as a network does: with a reset, and nothing more of what was sent."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
