"""From CSV to SQL beside what people do today: `make bench`.

`python -m benchmarks.end_to_end DATA [--rows 20000] [--rounds 3] [--json FILE]`: distinct texts of DATA,
the same file and the same merged starter for all, on this machine's CPUs and SQLite: pandas with
`transformers.pipeline`, one Celery task a row (a process for each CPU), and one producer and one worker
of ours with each engine. The ways take turns; seconds are medians. The clock runs from the first row
read to the last commit, with everything loaded; loading stands apart. Peak memory is that of what reads,
computes and writes, each process at its own peak; Redis and the sender of tasks are left out. Labels
are compared with those of our torch engine.
"""

import argparse
import csv
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from db.registry.names import parse_ref
from db.registry.versions import resolve
from db.settings import Settings
from db.store import open_store
from tests.cluster import BIN, Cluster, wait_until
from tests.services import start_redis
from training.data import read_data
from worker.preparing import prepare
from worker.serving import Loader, ensure_merged

ROOT = Path(__file__).parents[1]

MODEL = "emotion:1"

#: Seconds within which any way must be through.
LIMIT_SECONDS = 1800.0


@dataclass(frozen=True)
class Run:
    """One way, once."""

    #: Seconds until everything is loaded, of all rows, and from the first row read to its label.
    loading: float
    seconds: float
    first: float
    peak_mib: float
    #: By the row's id.
    labels: dict[str, str]


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    way: str
    rows_per_second: float
    ratio: float
    as_torch: float
    loading: float
    first: float
    peak_mib: float


@dataclass(frozen=True)
class Ground:
    """What all ways have in common."""

    folder: Path
    file: Path
    rows: int
    #: A home whose starter is merged and built, and the folder of the merged model.
    home: Path
    merged: Path


def peak_mib(process: int) -> float:
    """Return the most memory that a living process has had, in MiB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def peak_until_end(process: subprocess.Popen[str]) -> float:
    """Wait for the end of a process; return the most memory that it was seen to have had, in MiB."""
    peak = 0.0
    while process.poll() is None:
        # It may end between the two questions.
        with suppress(OSError, ValueError):
            peak = max(peak, peak_mib(process.pid))
        time.sleep(0.2)
    return peak


def by_pandas(ground: Ground, folder: Path) -> Run:
    """Pandas, a pipeline, `to_sql`."""
    command = [
        *(sys.executable, "-m", "benchmarks.peers", "pandas"),
        *(str(ground.file), str(ground.merged), str(folder / "labels.db")),
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    peak = peak_until_end(process)
    assert process.stdout is not None
    told = json.loads(process.stdout.read())
    labels = _peer_labels(folder / "labels.db")
    return Run(told["loading"], told["seconds"], told["first"], peak, labels)


def by_tasks(ground: Ground, folder: Path) -> Run:
    """One Celery task a row, a process a CPU, one INSERT a row."""
    database = folder / "labels.db"
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
                [BIN / "celery", "-A", "benchmarks.peers", "worker", "-c", str(os.cpu_count())],
                cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            _labelled_one(environment, database, worker)
            loading = time.time() - begun
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.peers", "enqueue", ground.file],
                cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True,
            )  # fmt: skip
            started = json.loads(done.stdout)["started"]
            wait_until(lambda: _count(database) == ground.rows, LIMIT_SECONDS, "all are labelled")
            seconds = time.time() - started
            children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
            peak = sum(peak_mib(each) for each in (worker.pid, *map(int, children)))
        finally:
            worker.terminate()
            worker.wait(60)
    return Run(loading, seconds, float("nan"), peak, _peer_labels(database))


def by_us(engine: str) -> Callable[[Ground, Path], Run]:
    """One producer and one worker of ours."""

    def run(ground: Ground, folder: Path) -> Run:
        with start_redis(folder) as broker:
            store = folder / "labelstream.db"
            with closing(sqlite3.connect(ground.home / "labelstream.db")) as source:
                # The registry's rows, whose files stay where they are.
                source.execute("VACUUM INTO ?", (str(store),))
            cluster = Cluster(folder, broker, f"sqlite:///{store}", ground.home / "registry")
            try:
                begun = time.monotonic()
                worker = cluster.start_worker(
                    LABELSTREAM_ENGINE=engine,
                    OMP_NUM_THREADS=str(os.cpu_count()),
                    # Each text is there once: nothing is remembered.
                    LABELSTREAM_CACHE_MB="0",
                )
                loading = time.monotonic() - begun
                process = cluster.start_producer("ingest", ground.file, "--wait", "--json")
                producer = peak_until_end(process)
                assert process.stdout is not None
                told = json.loads(process.stdout.read())
                first = cluster.value(
                    "SELECT (julianday(min(l.labeled_at)) - julianday(j.created_at)) * 86400 "
                    "FROM labeled_texts l JOIN jobs j ON j.id = l.job_id"
                )
                rows = cluster.rows("SELECT external_id, label FROM labeled_texts")
                labels = {row.external_id: row.label for row in rows}
                peak = producer + peak_mib(worker.pid)
            finally:
                cluster.stop()
        return Run(loading, told["seconds"], first, peak, labels)

    return run


def _labelled_one(
    environment: dict[str, str], database: Path, worker: subprocess.Popen[bytes]
) -> None:
    """Let every process load its model: it does so before its first task."""
    code = (
        "from benchmarks.peers import label\n"
        f"for _ in range({8 * (os.cpu_count() or 1)}): label.delay(-1, 'a text to warm up with')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    sent = 8 * (os.cpu_count() or 1)
    wait_until(lambda: _count(database) == sent or worker.poll() is not None, 180, "it has begun")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM labels")


def _count(database: Path) -> int:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return int(connection.execute("SELECT count(*) FROM labels").fetchone()[0])


def _peer_labels(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        return {
            str(id_): label for id_, label in connection.execute("SELECT id, label FROM labels")
        }


@contextmanager
def prepared(data: str, rows: int) -> Iterator[Ground]:
    """Write the file, and make the starter ready for every way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(_env_file=None, home_dir=folder / "home", device="cpu", engine="auto")
        store = open_store(settings)
        prepare(store, settings)
        version = resolve(store, parse_ref(MODEL))
        merged = ensure_merged(store, settings, version)
        engine = Loader(store, settings).load(version).name
        assert engine == "openvino", f"the starter cannot be built here: {engine}"
        read = read_data(data, store=store)
        store.close()
        splits = [split for split in (read.train, read.validation, read.test) if split is not None]
        texts = list(dict.fromkeys(text for split in splits for text in split.texts))[:rows]
        file = folder / "texts.csv"
        with file.open("w", newline="", encoding="utf-8") as output:
            csv.writer(output).writerows([("id", "text"), *enumerate(texts, start=1)])
        yield Ground(folder, file, len(texts), folder / "home", merged)


WAYS: dict[str, Callable[[Ground, Path], Run]] = {
    "pandas + transformers.pipeline + to_sql": by_pandas,
    "one Celery task a row": by_tasks,
    "ours, engine torch": by_us("torch"),
    "ours, engine openvino (auto)": by_us("auto"),
}


def lines(runs: dict[str, list[Run]], rows: int) -> Iterator[Line]:
    """Return the table."""
    fp32 = runs["ours, engine torch"][-1].labels
    first = statistics.median(run.seconds for run in runs[next(iter(WAYS))])
    for way, each in runs.items():
        seconds = statistics.median(run.seconds for run in each)
        same = sum(each[-1].labels.get(id_) == label for id_, label in fp32.items())
        yield Line(
            way,
            rows / seconds,
            first / seconds,
            same / len(fp32),
            statistics.median(run.loading for run in each),
            statistics.median(run.first for run in each),
            max(run.peak_mib for run in each),
        )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    with prepared(asked.data, asked.rows) as ground:
        for number in range(asked.rounds):
            for place, (way, run) in enumerate(WAYS.items()):
                folder = ground.folder / f"{number}-{place}"
                folder.mkdir()
                runs[way].append(run(ground, folder))
                print(f"round {number + 1}: {way}: {runs[way][-1].seconds:.1f} s", file=sys.stderr)
        table = list(lines(runs, ground.rows))
        print(
            f"{ground.rows:,} distinct texts, {os.cpu_count()} CPUs, {asked.rounds} rounds by turns"
        )
    print(
        f"{'way':42}{'rows/s':>8}{'ratio':>7}{'as torch':>10}{'loading':>9}{'first':>8}{'peak':>10}"
    )
    for line in table:
        print(
            f"{line.way:42}{line.rows_per_second:8,.0f}{line.ratio:6.2f}x{line.as_torch:10.2%}"
            f"{line.loading:7.1f} s{line.first:6.1f} s{line.peak_mib:6.0f} MiB"
        )
    if asked.json is not None:
        asked.json.write_text(json.dumps([asdict(line) for line in table], indent=2) + "\n")


if __name__ == "__main__":
    main()
