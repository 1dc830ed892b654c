"""Many processes on one SQLite file: four workers and two producers, and nobody hears of a lock.

`python -m benchmarks.many_on_sqlite [--rows 100000] [--workers 4] [--producers 2]`: each producer
ingests its share of the rows into the same file at the same time; the engine is `text-hash`. Printed:
rows a second over all, and how often any process spoke of a lock. Exit status 1 if a row is missing,
there twice or wrongly labelled, or if anybody did speak of one.
"""

import argparse
import sys
import tempfile
import time
import zlib
from pathlib import Path

from tests.cluster import Cluster
from tests.services import start_redis

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")


def text_of(producer: int, number: int) -> str:
    """Return the text of a row."""
    return f"row {number} of producer {producer}"


def wrong_rows(cluster: Cluster, producers: int, share: int) -> int:
    """Return how many rows are missing, there more than once, or not labelled as their text says."""
    expected = {text_of(p, n) for p in range(producers) for n in range(share)}
    wrong = 0
    for row in cluster.rows("SELECT text, label FROM labeled_texts"):
        right = row.label == LABELS[zlib.crc32(row.text.encode()) % len(LABELS)]
        wrong += not right or row.text not in expected
        expected.discard(row.text)
    return wrong + len(expected)


def measure(folder: Path, rows: int, workers: int, producers: int) -> tuple[float, int, int]:
    """Return seconds, wrong rows, and lines that speak of a lock."""
    share = rows // producers
    for producer in range(producers):
        lines = "".join(f"{text_of(producer, number)}\n" for number in range(share))
        (folder / f"rows-{producer}.csv").write_text("text\n" + lines)
    with start_redis(folder) as broker_url:
        url = f"sqlite:///{folder / 'store.db'}"
        cluster = Cluster(folder, broker_url, url, folder / "registry")
        try:
            for _ in range(workers):
                cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
            begun = time.monotonic()
            running = [
                cluster.start_producer("ingest", folder / f"rows-{producer}.csv", "--wait")
                for producer in range(producers)
            ]
            said = ""
            for process in running:
                _, err = process.communicate(timeout=1200)
                said += err
                if process.returncode:
                    raise SystemExit(err)
            seconds = time.monotonic() - begun
            told = (said + cluster.logs()).lower().splitlines()
            locks = sum("locked" in line or "sqlite_busy" in line for line in told)
            return seconds, wrong_rows(cluster, producers, share), locks
        finally:
            cluster.stop()


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--producers", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labelstream-") as folder:
        seconds, wrong, locks = measure(Path(folder), asked.rows, asked.workers, asked.producers)
    print(
        f"{asked.rows:,} rows, {asked.workers} workers, {asked.producers} producers: "
        f"{asked.rows / seconds:,.0f} rows/s, {wrong} rows wrong, {locks} lines about locks"
    )
    if wrong or locks:
        sys.exit(1)


if __name__ == "__main__":
    main()
