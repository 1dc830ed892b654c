"""How long an entry of a Redis stream takes to its row in SQL, and what Redis holds meanwhile.

`python -m benchmarks.stream [--seconds 180] [--rate 100] [--threads N] [--engine NAME] [--faults]`:
a writer adds tweets to a stream at a steady rate and keeps the last minute of it; a producer enters
them, and a worker labels them with the starter model, or what `--engine` names. An entry arrives at
the milliseconds of its id and is a row at `labeled_at`; both are clocks of this machine. Redis's
memory is that of the stream's server and of the broker's, each a server of its own. With `--faults`
there are two producers: one is killed after a third of the time and another started, one is stopped
(STOP) at the half for 20 s, past its lease, and continued. Exit status 1 if an entry is lost or
doubled, or the 95th percentile is over 1.5 s in a run without faults.
"""

import argparse
import csv
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from transformers.utils import logging as transformers_logging

from benchmarks.memory import MIB
from db.migrate import upgrade
from db.registry.artifacts import artifact_store
from db.registry.names import parse_ref
from db.registry.versions import resolve
from tests.cluster import Cluster, wait_until
from tests.pipeline.made_versions import merged
from tests.services import start_redis
from worker.starter import ensure_starter

EXAMPLES = Path(__file__).parents[1] / "examples" / "tweets.csv"
LIMIT_SECONDS = 1.5
KEPT_SECONDS = 60
STOPPED_SECONDS = 20


@dataclass
class Run:
    """What was written, and how Redis stood each second."""

    ids: list[str] = field(default_factory=list)
    source_mib: list[float] = field(default_factory=list)
    broker_mib: list[float] = field(default_factory=list)


def tweets() -> list[str]:
    """Return the example tweets that have a text."""
    with EXAMPLES.open(newline="", encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file) if (row["text"] or "").strip()]


def write(source: Any, seconds: float, rate: float, run: Run) -> None:
    """Add entries at a steady rate; the stream keeps those of the last minute."""
    texts, pick = tweets(), random.Random(1)
    begun = time.monotonic()
    for number in range(round(seconds * rate)):
        time.sleep(max(begun + number / rate - time.monotonic(), 0))
        entry = {"text": pick.choice(texts)}
        run.ids.append(
            source.xadd("tweets", entry, maxlen=round(KEPT_SECONDS * rate), approximate=True)
        )


@contextmanager
def deployment(folder: Path) -> Iterator[tuple[Cluster, str]]:
    """Give a deployment on SQLite whose starter is merged, and the URL of a Redis for the stream."""
    (folder / "source").mkdir()
    with start_redis(folder) as broker_url, start_redis(folder / "source") as source_url:
        url = f"sqlite:///{folder / 'store.db'}"
        cluster = Cluster(folder, broker_url, url, folder / "registry")
        try:
            upgrade(cluster.store)
            ensure_starter(cluster.store, artifact_store(cluster.python_settings()))
            merged(cluster, resolve(cluster.store, parse_ref("emotion:1")))
            yield cluster, source_url
        finally:
            cluster.stop()


def watch(run: Run, source: Any, broker: Any, writer: threading.Thread) -> None:
    """Note Redis's memory every second while entries are written."""
    while writer.is_alive():
        run.source_mib.append(source.info("memory")["used_memory"] / MIB)
        run.broker_mib.append(broker.info("memory")["used_memory"] / MIB)
        writer.join(1.0)


def disturb(cluster: Cluster, address: str, seconds: float) -> None:
    """Kill one producer and start another; stop one for longer than its lease."""
    killed = cluster.processes[-1]
    time.sleep(seconds / 3)
    os.kill(killed.pid, signal.SIGKILL)
    start(cluster, address)
    time.sleep(seconds / 6)
    frozen = cluster.processes[-2 if cluster.processes[-2] is not killed else -3]
    cluster.pause(frozen)
    time.sleep(STOPPED_SECONDS)
    frozen.send_signal(signal.SIGCONT)


def start(cluster: Cluster, address: str) -> "subprocess.Popen[str]":
    """Start a producer, and wait until it reads."""
    jobs = cluster.value("SELECT count(*) FROM jobs")
    process = cluster.start_producer("ingest", address)
    wait_until(lambda: cluster.value("SELECT count(*) FROM jobs") > jobs, 60, "it has a job")
    return process


def measure(
    folder: Path, seconds: float, rate: float, threads: int, engine: str, *, faults: bool
) -> tuple[Run, list[Any]]:
    """Write for `seconds`, and return the run and the rows that came of it."""
    run = Run()
    with (
        deployment(folder) as (cluster, source_url),
        redis.Redis.from_url(source_url, decode_responses=True) as source,
        redis.Redis.from_url(cluster.settings["LABELSTREAM_BROKER_URL"]) as broker,
    ):
        cluster.start_worker(OMP_NUM_THREADS=str(threads), LABELSTREAM_ENGINE=engine)
        address = f"{source_url}?stream=tweets&group=benchmark"
        for _ in range(2 if faults else 1):
            start(cluster, address)
        writer = threading.Thread(target=write, args=(source, seconds, rate, run))
        writer.start()
        if faults:
            threading.Thread(target=disturb, args=(cluster, address, seconds), daemon=True).start()
        watch(run, source, broker, writer)
        done = "SELECT count(*) FROM labeled_texts"
        wait_until(lambda: cluster.value(done) >= len(run.ids), 600, "every entry is labelled")
        # What is doubled may come late.
        time.sleep(15 if faults else 1)
        return run, list(cluster.rows("SELECT external_id, labeled_at FROM labeled_texts"))


def latencies(rows: list[Any]) -> list[float]:
    """Return the seconds from each entry's arrival to its row, the shortest first."""
    found = []
    for row in rows:
        at = row.labeled_at
        if isinstance(at, str):
            at = datetime.fromisoformat(at).replace(tzinfo=UTC)
        found.append(at.timestamp() - int(row.external_id.split("-")[0]) / 1000)
    return sorted(found)


def main() -> None:
    """Measure, print what was found, and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--faults", action="store_true")
    asked = parser.parse_args()
    transformers_logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="labelstream-") as folder:
        run, rows = measure(
            Path(folder),
            asked.seconds,
            asked.rate,
            asked.threads,
            asked.engine,
            faults=asked.faults,
        )
    counts = Counter(row.external_id for row in rows)
    lost = len(set(run.ids) - set(counts))
    doubled = sum(count - 1 for count in counts.values())
    found = latencies(rows)
    median, slow = statistics.median(found), found[int(len(found) * 0.95)]
    print(f"entries {len(run.ids):,}, rows {len(rows):,}, lost {lost}, doubled {doubled}")
    print(f"arrival to SQL row: p50 {median:.2f} s, p95 {slow:.2f} s, longest {found[-1]:.2f} s")
    for name, memory in (("stream's", run.source_mib), ("broker's", run.broker_mib)):
        print(
            f"{name} Redis: {memory[0]:.2f} MiB at the start, {memory[len(memory) // 2]:.2f} in the "
            f"middle, {memory[-1]:.2f} at the end, {max(memory):.2f} at most"
        )
    if lost or doubled or (slow > LIMIT_SECONDS and not asked.faults):
        sys.exit(1)


if __name__ == "__main__":
    main()
