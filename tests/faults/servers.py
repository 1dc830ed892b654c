"""Servers that a fault may destroy: a Redis and a PostgreSQL that start again where they were."""

import random
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import redis

from tests.cluster import wait_until
from tests.services import postgres_package, wait_for
from worker.embedded.redis_server import find_redis

#: Below the ports that systems give to clients: while a server is away, none of them takes its port.
_PORTS = range(20_000, 32_000)

#: Seconds within which a server must have ended.
_STOP_SECONDS = 30.0


def kept_port() -> int:
    """Return a port of loopback on which a server can start, and start again later."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("of 100 ports none is free")


class RedisServer:
    """A Redis on one port and one folder, over all its deaths.

    With `persistent` it keeps an append-only file and comes back with what it had; without, it comes
    back empty.
    """

    def __init__(self, folder: Path, *, persistent: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._persistent = persistent
        self.port = kept_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that serves now."""
        assert self._process is not None, "Redis was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process that serves."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, and return when it answers; nothing if it runs."""
        if self.is_running:
            return
        keeps = ("--appendonly", "yes" if self._persistent else "no")
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    find_redis().path,
                    *("--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--dir", str(self._folder), "--maxmemory-policy", "noeviction"),
                    *("--save", "", *keeps),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C at a terminal is for whoever started it, who then ends it in order.
                start_new_session=True,
            )
        wait_for(self._answers, self._process)

    def keep(self, persistent: bool) -> None:
        """From now on keep what it has on disk, or do not; it runs on meanwhile."""
        with redis.Redis.from_url(self.url) as client:
            client.config_set("appendonly", "yes" if persistent else "no")
            # The file holds nothing until a child of it has written what there is.
            wait_until(
                lambda: (
                    not client.info("persistence")["aof_rewrite_in_progress"]
                    and not client.info("persistence")["aof_rewrite_scheduled"]
                ),
                30,
                "Redis writes its file anew",
            )
        self._persistent = persistent

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with -9."""
        self._end(signal.SIGKILL)

    def empty(self) -> None:
        """Forget everything: messages, bindings, what workers have not acknowledged."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(_STOP_SECONDS)

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                # One that reads its append-only file back refuses commands meanwhile.
                return False


class PostgresServer:
    """A PostgreSQL on one port and one data folder, over all its deaths.

    Every user of the machine must be able to pass through `folder`: as root it runs as another.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        made = postgres_package().get_server(folder / "data", start=False)
        made.ensure_pgdata_inited()
        self._data: Path = made.pgdata
        self._program: Path = made.bin_path / "postgres"
        self._user: str | None = made.system_user
        #: What it says of its starts and ends.
        self.log = folder / "postgres.log"
        self.port = kept_port()
        #: Its maintenance database.
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that serves now, the parent of all others."""
        assert self._process is not None, "PostgreSQL was never started"
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it answers; nothing if it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    *("-D", self._data, "-p", str(self.port)),
                    *("-h", "127.0.0.1", "-k", ""),
                    # A commit must outlive the process, not a loss of power.
                    *("-c", "fsync=off", "-c", "full_page_writes=off"),
                ],
                user=self._user,
                # Its own folder is for one user alone.
                cwd=self._data.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C at a terminal is for whoever started it, who then ends it in order.
                start_new_session=True,
            )
        wait_for(self._answers, self._process)

    def stop(self) -> None:
        """End it in order but at once: its "fast" shutdown, which breaks every connection."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_STOP_SECONDS)

    def kill(self) -> None:
        """End all its processes with -9."""
        if self._process is None or self._process.poll() is not None:
            return
        parent = psutil.Process(self._process.pid)
        family = [parent, *parent.children(recursive=True)]
        # The parent first: it would start others in the place of those that die.
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(_STOP_SECONDS)
        wait_until(lambda: all(map(_is_over, family)), _STOP_SECONDS, "all its processes are gone")

    def _answers(self) -> bool:
        try:
            with psycopg.connect(
                host="127.0.0.1", port=self.port, user="postgres", connect_timeout=5
            ):
                return True
        except psycopg.OperationalError:
            return False


def _is_over(process: psutil.Process) -> bool:
    # Orphans may have nobody who takes note of their end: they stay as zombies.
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
