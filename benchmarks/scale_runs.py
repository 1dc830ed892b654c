"""The runs of `benchmarks.scale`: each in a deployment of its own, on an empty database."""

import json
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractContextManager,
    ExitStack,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import func, select

from benchmarks.made_tweets import made_tweets, write_tweets
from benchmarks.peaks import peak_mib
from benchmarks.scale_parts import Spent, spent
from db.defaults import CHUNK_ROWS
from db.ledger.workers import living_workers
from db.registry.names import parse_ref
from db.registry.versions import resolve
from db.schema import Chunk, Job
from db.settings import Settings
from db.store import open_store
from tests.cluster import Cluster, wait_until
from tests.databases import fresh_database
from tests.services import start_redis
from worker.encoder import TokenizerEncoder
from worker.preparing import prepare
from worker.serving import Loader, ensure_merged

MODEL = "emotion:1"

#: Seconds within which any command must be through.
LIMIT_SECONDS = 3600.0

#: What the ledger's clocks tell apart, at least.
CLOCK_SECONDS = 0.001

#: So many chunks may be open that the producer never waits for a worker.
UNBOUNDED = 1_000_000_000


@dataclass(frozen=True)
class Ground:
    """What all runs have in common."""

    folder: Path
    #: URL of each database's server, by the database's name; SQLite has none.
    servers: Mapping[str, str | None]
    #: URL of a database of each kind that holds the registry's rows and nothing else.
    templates: Mapping[str, str]
    #: The folder of the merged starter; None where it was not merged.
    merged: Path | None

    @property
    def registry(self) -> Path:
        """The folder of the models' files, the same for all runs."""
        return self.folder / "registry"

    def file(self, rows: int) -> Path:
        """Return the CSV of so many texts, written at its first use."""
        path = self.folder / f"tweets-{rows}.csv"
        if not path.exists():
            write_tweets(path, rows)
        return path


@dataclass(frozen=True)
class Run:
    """One job from end to end; `rows` are those that SQL counts."""

    rows: int
    #: From the first row read to the last commit, as the summary tells.
    seconds: float
    #: The most memory that the producer had, and that any worker had.
    producer_mib: float
    worker_mib: float
    #: From the workers' start until all of them take messages.
    ready: float
    #: From then until the end, with the producer's start.
    spent: Spent

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / max(self.seconds, CLOCK_SECONDS)


@dataclass(frozen=True)
class Entered:
    """One job that was entered while no worker ran; `rows` are those that the ledger counts."""

    rows: int
    #: From the first row read until the last chunk is in the ledger and its message in the queue.
    seconds: float
    #: Of the whole command: with its start, the digest of the file, and its summary.
    whole_seconds: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / max(self.seconds, CLOCK_SECONDS)


@contextmanager
def prepared(
    servers: Mapping[str, str | None], *, merge: bool = False, engine: str | None = None
) -> Iterator[Ground]:
    """Make a template for each database.

    With `merge` the starter is merged in each, and in the first one it is ready for `engine`.
    """
    with (
        tempfile.TemporaryDirectory(prefix="labelstream-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        folder = Path(name)
        merged = None
        templates = {}
        for database, server in servers.items():
            url = f"sqlite:///{folder / 'template.db'}"
            if server is not None:
                url = stack.enter_context(fresh_database(server))
            templates[database] = url
            settings = Settings(
                _env_file=None,
                database_url=url,
                home_dir=folder / "home",
                registry_dir=str(folder / "registry"),
                device="cpu",
                engine=engine or "auto",
            )
            with closing(open_store(settings)) as store:
                prepare(store, settings)
                version = resolve(store, parse_ref(MODEL))
                if merge:
                    merged = ensure_merged(store, settings, version)
                if engine is not None and len(templates) == 1:
                    Loader(store, settings).load(version)
        yield Ground(folder, servers, templates, merged)


@contextmanager
def deployment(ground: Ground, database: str) -> Iterator[Cluster]:
    """Give a deployment with a Redis of its own on a copy of the template."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=ground.folder)))
        broker = stack.enter_context(start_redis(folder))
        with redis.Redis.from_url(broker) as client:
            # A server that the environment names may hold what others left.
            client.flushdb()
        template, server = ground.templates[database], ground.servers[database]
        if server is None:
            url = f"sqlite:///{folder / 'store.db'}"
            with closing(sqlite3.connect(template.removeprefix("sqlite:///"))) as source:
                source.execute("VACUUM INTO ?", (str(folder / "store.db"),))
        else:
            url = stack.enter_context(fresh_database(server, template=template))
        cluster = Cluster(folder, broker, url, ground.registry)
        stack.callback(cluster.stop)
        yield cluster


#: What happens beside a run, in its deployment.
Beside = Callable[[Cluster], AbstractContextManager[object]]


def nothing_beside(_: Cluster) -> AbstractContextManager[None]:
    """Let nothing happen beside a run."""
    return nullcontext()


def labelled(
    ground: Ground,
    database: str,
    rows: int,
    *,
    engine: str,
    workers: int = 1,
    threads: int = 1,
    beside: Beside = nothing_beside,
    settings: Mapping[str, str] = {},
) -> Run:
    """Label `rows` texts with a producer and `workers` at once, which remember nothing.

    `settings` are further ones of all of them.
    """
    with deployment(ground, database) as cluster, beside(cluster):
        cluster.settings.update(settings)
        of_workers = {
            "LABELSTREAM_ENGINE": engine,
            # Each text is there once.
            "LABELSTREAM_CACHE_MB": "0",
            "OMP_NUM_THREADS": str(threads),
        }
        file = ground.file(rows)
        begun = time.monotonic()
        running = [cluster.start_worker(wait=False, **of_workers) for _ in range(workers)]
        wait_until(lambda: _all_ready(cluster, running), 180, "the workers are ready")
        ready = time.monotonic() - begun
        processes = [each.pid for each in running]
        before = spent(cluster, processes)
        process = cluster.start_producer("ingest", file, "--wait", "--json")
        peak = _peak_until_end(cluster, process, running)
        told = _told(process)
        stored = cluster.value("SELECT count(*) FROM labeled_texts")
        if (told["state"], told["labeled"], stored) != ("done", rows, rows):
            raise SystemExit(f"of {rows} rows {stored} are labelled: {told}")
        worker = max(map(peak_mib, processes))
        after = spent(cluster, processes)
        return Run(stored, told["seconds"], peak, worker, ready, after - before)


def entered(ground: Ground, database: str, rows: int) -> Entered:
    """Enter `rows` texts, all that the file has, while no worker runs."""
    with deployment(ground, database) as cluster:
        file = ground.file(rows)
        begun = time.monotonic()
        process = cluster.start_producer(
            "ingest", file, "--no-wait", "--json", "--max-queued", str(UNBOUNDED)
        )
        _peak_until_end(cluster, process, [])
        whole = time.monotonic() - begun
        told = _told(process)
        stored = cluster.value("SELECT coalesce(sum(row_count), 0) FROM chunks")
        if (told["state"], told["rows"], stored) != ("running", rows, rows):
            raise SystemExit(f"of {rows} rows {stored} are entered: {told}")
        query = select(func.min(Job.created_at), func.max(Chunk.queued_at), func.max(Chunk.sent_at))
        with cluster.store.read() as connection:
            made, *ends = connection.execute(query.join(Chunk, Chunk.job_id == Job.id)).one()
        last = max(end for end in ends if end is not None)
        return Entered(int(stored), (last - made).total_seconds(), whole)


def tokenised(folder: Path, rows: int, threads: int) -> float:
    """Return the seconds that the tokenizer in `folder` takes by itself, in this one process."""
    encoder = TokenizerEncoder(folder, 128)
    texts = list(made_tweets(rows))
    chunks = [texts[start : start + CHUNK_ROWS] for start in range(0, rows, CHUNK_ROWS)]
    encoder.encode(chunks[0])
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        encoded = sum(len(rows) for rows in pool.map(encoder.encode, chunks))
        seconds = time.perf_counter() - started
    assert encoded == rows, f"{encoded} of {rows} texts"
    return seconds


def _all_ready(cluster: Cluster, workers: Sequence["subprocess.Popen[str]"]) -> bool:
    _none_has_ended(cluster, workers)
    return len(living_workers(cluster.store)) == len(workers)


def _peak_until_end(
    cluster: Cluster, process: "subprocess.Popen[str]", workers: Sequence["subprocess.Popen[str]"]
) -> float:
    """Wait for the end of a process; return the most memory that it was seen to have had, in MiB."""
    deadline = time.monotonic() + LIMIT_SECONDS
    peak = 0.0
    while process.poll() is None:
        _none_has_ended(cluster, workers)
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {LIMIT_SECONDS:.0f} s: {process.args!r}")
        # It may end between the two questions.
        with suppress(OSError, ValueError):
            peak = max(peak, peak_mib(process.pid))
        time.sleep(0.1)
    return peak


def _none_has_ended(cluster: Cluster, workers: Sequence["subprocess.Popen[str]"]) -> None:
    if any(worker.poll() is not None for worker in workers):
        raise SystemExit(f"a worker has ended: {cluster.logs()[-3000:]}")


def _told(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return the object that a command which has ended has printed."""
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(err)
    told: dict[str, Any] = json.loads(out)
    return told
