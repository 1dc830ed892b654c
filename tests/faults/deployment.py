"""Everything that a fault may destroy, in one place: Redis, a database, workers, and the ways between."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy import text

from db.registry.artifacts import artifact_store
from db.registry.names import DEFAULT_ALIAS, parse_ref
from db.registry.versions import NewVersion, Version, add_version, resolve
from tests.cluster import Cluster, wait_until
from tests.faults.form import Form
from tests.faults.servers import PostgresServer, RedisServer
from tests.proxy import TcpProxy
from worker.starter import ensure_starter

HOOKS = Path(__file__).parent / "hooks"
ROOT = Path(__file__).parents[2]

#: Workers of a deployment in health.
WORKERS = 2


class Deployment:
    """A deployment of its own for one fault, or for some that leave it in health.

    With `proxied` its processes reach Redis and PostgreSQL through proxies, which can be cut.
    `engine` is what `LABELSTREAM_ENGINE` says; `torch` computes with the starter.
    """

    def __init__(
        self, database: str, form: Form, *, engine: str = "text-hash", proxied: bool = False
    ) -> None:
        self.database = database
        self.form = form
        self.engine = engine
        self._ends = ExitStack()
        # Not among a test's own folders: as root, PostgreSQL is another user.
        self.folder = Path(
            self._ends.enter_context(
                tempfile.TemporaryDirectory(prefix="labelstream-", ignore_cleanup_errors=True)
            )
        )
        self.redis = RedisServer(self.folder / "redis")
        self.postgres: PostgresServer | None = None
        self.redis_proxy: TcpProxy | None = None
        self.postgres_proxy: TcpProxy | None = None
        #: The living ones, stopped ones among them.
        self.workers: list[subprocess.Popen[str]] = []
        try:
            self._start(proxied=proxied)
        except BaseException:
            self._ends.close()
            raise

    def _start(self, *, proxied: bool) -> None:
        self._ends.callback(self.redis.stop)
        self.redis.start()
        url = f"sqlite:///{self.folder / 'store.db'}"
        if self.database == "postgresql":
            self.postgres = PostgresServer(self.folder / "postgres")
            self._ends.callback(self.postgres.stop)
            self.postgres.start()
            url = self.postgres.url
        # What it asks the ledger itself goes by no proxy.
        self.cluster = Cluster(self.folder, self.redis.url, url, self.folder / "registry")
        self._ends.callback(self.cluster.stop)
        self.cluster.settings |= {
            "LABELSTREAM_ENGINE": self.engine,
            "LABELSTREAM_ENGINE_PACE": str(self.form.pace),
            # Of the tree that this file is in, be another one installed.
            "PYTHONPATH": os.pathsep.join((str(HOOKS), str(ROOT))),
            "FAULTS_CLOCK": str(self.form.clock),
        }
        if proxied:
            self._put_proxies_between()
        self._register_models()
        self.replenish()

    def _put_proxies_between(self) -> None:
        settings = self.cluster.settings
        self.redis_proxy = self._ends.enter_context(TcpProxy("127.0.0.1", self.redis.port))
        settings["LABELSTREAM_BROKER_URL"] = self.redis_proxy.url(self.redis.url)
        if self.postgres is not None:
            self.postgres_proxy = self._ends.enter_context(
                TcpProxy("127.0.0.1", self.postgres.port)
            )
            settings["LABELSTREAM_DATABASE_URL"] = self.postgres_proxy.url(self.postgres.url)

    def _register_models(self) -> None:
        store, artifacts = self.cluster.store, artifact_store(self.cluster.python_settings())
        ensure_starter(store, artifacts)
        if self.engine == "torch":
            # Torch is not for those who compute nothing with it.
            from worker.merge import merge_version

            merge_version(store, artifacts, self.starter)

    @property
    def starter(self) -> Version:
        """The version that labels where nothing else is said."""
        return resolve(self.cluster.store, parse_ref("emotion:1"))

    def add_twins(self, model: str) -> None:
        """Register `model` with two versions that both are the starter; the first serves."""
        values = {field.name: getattr(self.starter, field.name) for field in fields(NewVersion)}
        twin = replace(NewVersion(**values), model=model)
        for alias in (DEFAULT_ALIAS, None):
            add_version(self.cluster.store, twin, who="test", alias=alias)

    def start_worker(self) -> subprocess.Popen[str]:
        """Start a worker and wait until it is ready."""
        process = self.launch_worker()
        self._wait_until_ready(process)
        return process

    def replenish(self) -> None:
        """Start as many workers as are missing, at once."""
        self.workers = [process for process in self.workers if process.poll() is None]
        started = [self.launch_worker() for _ in range(WORKERS - len(self.workers))]
        for process in started:
            self._wait_until_ready(process)

    def launch_worker(self) -> subprocess.Popen[str]:
        """Start a worker and do not wait for it."""
        process = self.cluster.start_worker(wait=False)
        self.workers.append(process)
        return process

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> None:
        def ready() -> bool:
            assert process.poll() is None, self.log(process)[-3000:]
            query = "SELECT 1 FROM workers WHERE name LIKE :name"
            return bool(self.rows(query, name=f"%/{process.pid}"))

        wait_until(ready, 120, "the worker is ready")

    def kill_worker(self, process: subprocess.Popen[str]) -> None:
        """End a worker with -9."""
        process.kill()
        process.wait(10)
        self.workers.remove(process)

    def terminate_worker(self, process: subprocess.Popen[str], seconds: float) -> int:
        """Ask a worker to leave, as supervisors do; return its exit status."""
        process.terminate()
        status = process.wait(seconds)
        self.workers.remove(process)
        return status

    def heal(self) -> None:
        """Bring everything back that a fault took away."""
        self.redis.start()
        self.redis.keep(persistent=True)
        if self.postgres is not None:
            self.postgres.start()
        for proxy in (self.redis_proxy, self.postgres_proxy):
            if proxy is not None:
                proxy.restore()
        for process in self.workers:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
        self.replenish()

    def rows(self, query: str, **parameters: Any) -> Sequence[Any]:
        """Return what `query` selects, be the database away for a moment."""
        return self.cluster.store.retrying(lambda: self.cluster.rows(query, **parameters))

    def value(self, query: str, **parameters: Any) -> Any:
        """Return the one value that `query` selects."""
        return self.rows(query, **parameters)[0][0]

    def change(self, statement: str, **parameters: Any) -> None:
        """Change the ledger behind everybody's back."""
        with self.cluster.store.write() as connection:
            connection.execute(text(statement), parameters)

    def log(self, process: subprocess.Popen[str]) -> str:
        """Return what a worker has written so far."""
        return self.cluster.worker_log(self.cluster.processes.index(process)).read_text()

    def at_the_end(self, do: Callable[[], object]) -> None:
        """Do something when everything is ended; the last first."""
        self._ends.callback(do)

    def close(self) -> None:
        """End everything."""
        for process in self.workers:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
        self._ends.close()
