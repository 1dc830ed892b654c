"""A real deployment on this machine: Redis, a database, workers and producers as processes."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from db.ledger.workers import living_workers
from db.migrate import upgrade
from db.settings import Settings
from db.store import Store

BIN = Path(sys.executable).parent


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true value of `condition`, asked again and again for `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


#: The engine of tests that name none. By itself a worker takes 8 bits where a version can be built for
#: them, and would build the starter in every home.
TEST_ENGINE = "torch"


def clean_environment(**settings: str) -> dict[str, str]:
    """Return the environment without any setting of ours but the engine, and then `settings`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LABELSTREAM_")}
    # One thread each: on two cores, processes with two take turns more than they compute.
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
        "LABELSTREAM_ENGINE": TEST_ENGINE,
        **settings,
    }


def is_stopped(process: int) -> bool:
    """Whether no thread of a process runs any more, as far as the system tells."""
    threads = Path(f"/proc/{process}/task").glob("*/stat")
    # The state stands after the name, which is in brackets and may hold anything.
    return all(stat.read_text().rpartition(")")[2].split()[0] in "Tt" for stat in threads)


class Cluster:
    """Workers and producers that share one Redis and one database."""

    def __init__(
        self, folder: Path, broker_url: str, database_url: str, registry: Path | str
    ) -> None:
        self.folder = folder
        self.store = Store(database_url)
        upgrade(self.store)
        self.settings = {
            "LABELSTREAM_BROKER_URL": broker_url,
            "LABELSTREAM_DATABASE_URL": database_url,
            "LABELSTREAM_HOME_DIR": str(folder / "home"),
            "LABELSTREAM_REGISTRY_DIR": str(registry),
        }
        self.processes: list[subprocess.Popen[str]] = []

    def start_worker(
        self, *options: str, wait: bool = True, **settings: str
    ) -> subprocess.Popen[str]:
        """Start `celery -A worker worker`, and wait until the ledger shows it."""
        # Who does not wait asks nothing of the database either: it may be away.
        before = {worker.name for worker in living_workers(self.store)} if wait else set()
        log = self.worker_log(len(self.processes))
        number = len(self.processes)
        with log.open("w") as output:
            process = subprocess.Popen(
                [BIN / "celery", "-A", "worker", "worker", "-n", f"w{number}@test", *options],
                env=clean_environment(**{**self.settings, **settings}),
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.processes.append(process)
        if wait:

            def ready() -> bool:
                assert process.poll() is None, log.read_text()[-3000:]
                return bool({worker.name for worker in living_workers(self.store)} - before)

            wait_until(ready, 90, "the worker is ready")
        return process

    def pause(self, process: subprocess.Popen[str]) -> None:
        """Stop a process at a moment when it holds no lock, which would stop all others too."""
        for _ in range(100):
            process.send_signal(signal.SIGSTOP)
            # A thread that is inside the system goes on until it comes out.
            wait_until(lambda: is_stopped(process.pid), 60, "every thread of it is stopped")
            if not self._is_locked():
                return
            process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        raise AssertionError("the process holds a lock whenever it is stopped")

    def _is_locked(self) -> bool:
        try:
            if self.store.dialect == "sqlite":
                with contextlib.closing(
                    sqlite3.connect(str(self.store.engine.url.database), timeout=0.2)
                ) as connection:
                    connection.execute("BEGIN IMMEDIATE")
            else:
                with self.store.read() as transaction:
                    transaction.execute(text("SELECT 1 FROM chunks FOR UPDATE NOWAIT"))
        except (sqlite3.OperationalError, OperationalError):
            return True
        return False

    def worker_log(self, number: int) -> Path:
        """Return where the worker that was started as `number` writes."""
        return self.folder / f"worker-{number}.log"

    def logs(self) -> str:
        """Return what all workers have written."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    def start_producer(self, *arguments: str | Path, **settings: str) -> subprocess.Popen[str]:
        """Start the `producer` command."""
        process = subprocess.Popen(
            [BIN / "producer", *map(str, arguments)],
            env=clean_environment(**{**self.settings, **settings}),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def producer(
        self, *arguments: str | Path, timeout: float = 180, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the `producer` command to its end."""
        process = self.start_producer(*arguments, **settings)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def python_settings(self) -> Settings:
        """Return the settings of these processes, for what runs in this one."""
        given = {
            name.removeprefix("LABELSTREAM_").lower(): value
            for name, value in self.settings.items()
        }
        return Settings(_env_file=None, **given)  # type: ignore[arg-type]

    def ingest(
        self, *arguments: str | Path, timeout: float = 180, **settings: str
    ) -> Mapping[str, Any]:
        """Run `producer ingest --json --wait`, which must succeed, and return its object."""
        done = self.producer("ingest", *arguments, "--wait", "--json", timeout=timeout, **settings)
        assert done.returncode == 0, done.stderr + self.logs()[-3000:]
        result: Mapping[str, Any] = json.loads(done.stdout)
        return result

    def rows(self, query: str, **parameters: Any) -> Sequence[Any]:
        """Return what `query` selects."""
        with self.store.read() as connection:
            return connection.execute(text(query), parameters).all()

    def value(self, query: str, **parameters: Any) -> Any:
        """Return the one value that `query` selects."""
        return self.rows(query, **parameters)[0][0]

    def stop(self) -> None:
        """End every process that was started here, and close the database."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        self.store.close()
