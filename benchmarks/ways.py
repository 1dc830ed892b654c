"""The ways from CSV to SQL that `benchmarks.end_to_end` lets take turns: those of today, and ours."""

import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.peaks import peak_mib, peak_of_ray_until_end, peak_until_end
from tests.cluster import BIN, Cluster, clean_environment, wait_until
from tests.services import start_redis
from worker.threads import usable_cpus

ROOT = Path(__file__).parents[1]

#: Seconds within which any way must be through.
LIMIT_SECONDS = 1800.0

#: Tasks for each process of a Celery worker that it does before the clock starts.
_WARM_UP_TASKS = 8

#: Where a peer stores its labels.
LABELS_FILE = "labels.db"

#: Where a module of a way says what went wrong.
_SAID_FILE = "said.txt"


@dataclass(frozen=True)
class Run:
    """One way, once."""

    #: Seconds until everything is loaded, of all rows, and from the first row read to its label.
    loading: float
    seconds: float
    first: float | None
    peak_mib: float
    #: By the row's id; the engine alone stores none.
    labels: dict[str, str]
    #: Share of the rows that a worker of ours did not have to compute.
    hit_rate: float | None = None


@dataclass(frozen=True)
class Ground:
    """What all ways have in common."""

    folder: Path
    #: Distinct texts, and as many rows of which some repeat an earlier one.
    file: Path
    repeating: Path
    rows: int
    #: A home whose starter is merged and built, and the folder of the merged model.
    home: Path
    merged: Path
    #: What the data says of its validation and test texts, by the row's id.
    truth: dict[str, str]
    #: Tokens that the model reads of each text.
    tokens: list[int]


@dataclass(frozen=True)
class Way:
    """A line of the table: its name, how it is gone, and why it is not."""

    name: str
    run: Callable[[Ground, Path], Run]
    skipped: str | None = None
    ours: bool = False


def peers() -> dict[str, Way]:
    """Return what people do today, by short names."""
    has_ray = importlib.util.find_spec("ray") is not None
    no_ray = None if has_ray else "ray is not installed: pip install -e '.[bench-ray]'"
    return {
        "pandas": Way("pandas + transformers.pipeline + to_sql", by_pandas),
        "tasks": Way("one Celery task a row", by_tasks),
        "ray": Way("Ray Data, one actor, batches of 500", by_ray, skipped=no_ray),
    }


def by_pandas(ground: Ground, folder: Path) -> Run:
    """Pandas, a pipeline, `to_sql`."""
    database = folder / LABELS_FILE
    process = _module(folder, "benchmarks.peers", "pandas", ground.file, ground.merged, database)
    peak = peak_until_end(process)
    return _told_run(process, folder, peak)


def by_ray(ground: Ground, folder: Path) -> Run:
    """Ray Data, an actor with a pipeline, `to_sql`."""
    database = folder / LABELS_FILE
    # A folder of its own: the path of a socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="ray-") as short:
        process = _module(
            folder, "benchmarks.ray_peer", ground.file, ground.merged, database, short
        )
        peak = peak_of_ray_until_end(process)
    return _told_run(process, folder, peak)


def by_tasks(ground: Ground, folder: Path) -> Run:
    """One Celery task a row, a process a CPU, one INSERT a row."""
    database = folder / LABELS_FILE
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE labels (id INTEGER, text TEXT, label TEXT, score REAL)")
    with start_redis(folder) as broker:
        environment = {
            **os.environ,
            "BENCH_BROKER": broker,
            "BENCH_MODEL": str(ground.merged),
            "BENCH_DATABASE": str(database),
            # Each process has a CPU of its own.
            "OMP_NUM_THREADS": "1",
        }
        begun = time.time()
        with (folder / "worker.log").open("w") as log:
            worker = subprocess.Popen(
                [BIN / "celery", "-A", "benchmarks.peers", "worker", "-c", str(usable_cpus())],
                cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            _warm_up(environment, database, worker)
            loading = time.time() - begun
            sender = _module(folder, "benchmarks.peers", "enqueue", ground.file, env=environment)
            wait_until(
                lambda: _count(database) > 0 or sender.poll(), LIMIT_SECONDS, "one is labelled"
            )
            first = time.time()
            started = _told(sender, folder)["started"]
            wait_until(lambda: _count(database) == ground.rows, LIMIT_SECONDS, "all are labelled")
            seconds = time.time() - started
            children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
            peak = sum(peak_mib(each) for each in (worker.pid, *map(int, children)))
        finally:
            worker.terminate()
            worker.wait(60)
    return Run(loading, seconds, first - started, peak, peer_labels(database))


@dataclass(frozen=True)
class Ours:
    """One producer and one worker of ours; where each text is there once, it remembers nothing."""

    engine: str
    repeating: bool = False
    cache_mb: int = 0

    def __call__(self, ground: Ground, folder: Path) -> Run:
        """Label the file in a deployment of its own."""
        with start_redis(folder) as broker:
            store = folder / "labelstream.db"
            with closing(sqlite3.connect(ground.home / "labelstream.db")) as source:
                # The registry's rows, whose files stay where they are.
                source.execute("VACUUM INTO ?", (str(store),))
            cluster = Cluster(folder, broker, f"sqlite:///{store}", ground.home / "registry")
            try:
                run = self._labelled(cluster, ground.repeating if self.repeating else ground.file)
            finally:
                cluster.stop()
        assert len(run.labels) == ground.rows, f"{len(run.labels)} of {ground.rows} are labelled"
        # Only a worker that has left tells it.
        return replace(run, hit_rate=hit_rate(cluster.worker_log(0).read_text(encoding="utf-8")))

    def _labelled(self, cluster: Cluster, file: Path) -> Run:
        begun = time.monotonic()
        worker = cluster.start_worker(
            LABELSTREAM_ENGINE=self.engine,
            LABELSTREAM_CACHE_MB=str(self.cache_mb),
            OMP_NUM_THREADS=str(usable_cpus()),
        )
        loading = time.monotonic() - begun
        process = cluster.start_producer("ingest", file, "--wait", "--json")
        producer = peak_until_end(process)
        assert process.stdout is not None
        told = json.loads(process.stdout.read())
        first = cluster.value(
            "SELECT (julianday(min(l.labeled_at)) - julianday(j.created_at)) * 86400 "
            "FROM labeled_texts l JOIN jobs j ON j.id = l.job_id"
        )
        rows = cluster.rows("SELECT external_id, label FROM labeled_texts")
        labels = {row.external_id: row.label for row in rows}
        return Run(loading, told["seconds"], first, producer + peak_mib(worker.pid), labels)


def alone(engine: str) -> Callable[[Ground, Path], Run]:
    """Call the engine in one process, without producer, queue and SQL."""

    def run(ground: Ground, folder: Path) -> Run:
        environment = clean_environment(OMP_NUM_THREADS=str(usable_cpus()))
        process = _module(
            folder, "benchmarks.alone", ground.home, engine, ground.file, env=environment
        )
        return _told_run(process, folder, peak_until_end(process))

    return run


def hit_rate(log: str) -> float | None:
    """Return the hit rate that a worker's last line tells; None if it did not come to that."""
    told = re.findall(r" hit_rate=([\d.]+)", log)
    return float(told[-1]) if told else None


def peer_labels(database: Path) -> dict[str, str]:
    """Return the labels that a peer stored, by the row's id."""
    with closing(sqlite3.connect(database)) as connection:
        return {
            str(id_): label for id_, label in connection.execute("SELECT id, label FROM labels")
        }


def _module(
    folder: Path, name: str, *arguments: Path | str, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Run a module that prints a JSON object; all else that it says goes to a file in `folder`."""
    with (folder / _SAID_FILE).open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", name, *map(str, arguments)],
            cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=said, text=True,
        )  # fmt: skip


def _told(process: subprocess.Popen[str], folder: Path) -> Any:
    """Return the JSON object that a module of ours prints before it ends."""
    assert process.stdout is not None
    told = process.stdout.read()
    said = (folder / _SAID_FILE).read_text(errors="replace")
    assert process.wait(60) == 0, f"{process.args!r} failed: {said[-2000:]}"
    return json.loads(told)


def _told_run(process: subprocess.Popen[str], folder: Path, peak: float) -> Run:
    told = _told(process, folder)
    database = folder / LABELS_FILE
    labels = peer_labels(database) if database.exists() else {}
    return Run(told["loading"], told["seconds"], told.get("first"), peak, labels)


def _warm_up(environment: dict[str, str], database: Path, worker: subprocess.Popen[bytes]) -> None:
    """Let every process load its model: it does so before its first task."""
    sent = _WARM_UP_TASKS * usable_cpus()
    code = (
        "from benchmarks.peers import label\n"
        f"for _ in range({sent}): label.delay(-1, 'a text to warm up with')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    wait_until(lambda: _count(database) == sent or worker.poll() is not None, 180, "it has begun")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM labels")


def _count(database: Path) -> int:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return int(connection.execute("SELECT count(*) FROM labels").fetchone()[0])
