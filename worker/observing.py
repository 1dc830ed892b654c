"""The port of a worker: `/metrics` for Prometheus, `/healthz` and `/readyz` for supervisors."""

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from db.errors import UsageError
from worker.health import Health

#: Seconds that a client has to say what it wants.
_REQUEST_SECONDS = 10


class ObservingServer:
    """Answers on `host` and `port` in threads of its own, from `start` to `stop`.

    Raises `UsageError` if the port cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        live: Callable[[], Health],
        ready: Callable[[], Health],
    ) -> None:
        handler = type(
            "Handler",
            (_Handler,),
            {"registry": registry, "answers": {"/healthz": live, "/readyz": ready}},
        )
        try:
            self._server = (_Server6 if ":" in host else _Server)((host, port), handler)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise UsageError(
                f"metrics cannot be told on {host} port {port} ({reason}); "
                "set LABELSTREAM_METRICS_PORT, each worker of a machine its own, and "
                "LABELSTREAM_METRICS_HOST"
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(timeout=10)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that hung up is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    answers: dict[str, Callable[[], Health]]

    server_version = "labelstream"
    sys_version = ""
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, content_type, encode(self.registry))
        elif path in self.answers:
            health = self.answers[path]()
            status = HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, _PLAIN, "".join(f"{line}\n" for line in health.lines).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, _PLAIN, b"see /metrics, /healthz and /readyz\n")

    def log_message(self, *_: object) -> None:
        """Log nothing: it is asked every few seconds, for weeks."""

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


_PLAIN = "text/plain; charset=utf-8"
