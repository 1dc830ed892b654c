"""What waits where while a fast source meets a slow worker: everything must stay flat.

`python -m benchmarks.backpressure [--rows 1000000] [--rate 200] [--seconds 120] [--stdin]`: a source
of a million rows, a file or with `--stdin` a pipe, and one worker whose engine takes 1/rate seconds a
row. Printed every so often: Redis's memory, the producer's resident memory, the chunks that are open
and the bytes of their payloads, and the rows that are labelled. At the end the job is left as it is.
Exit status 1 if anything passes its bound: 50 MB for Redis, 250 MB for the producer, `--max-queued`
for the open chunks.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.memory import MIB, write_rows
from db.defaults import MAX_QUEUED_CHUNKS
from tests.cluster import BIN, Cluster, clean_environment, wait_until
from tests.services import start_redis

REDIS_LIMIT_MIB = 50
PRODUCER_LIMIT_MIB = 250


@dataclass(frozen=True)
class Sample:
    """How things stand at one moment."""

    seconds: float
    labeled: int
    redis_mib: float
    producer_mib: float
    open_chunks: int
    payload_mib: float


def resident_mib(pid: int) -> float:
    """Return the resident memory of a living process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} tells no VmRSS")


def look(cluster: Cluster, broker: "redis.Redis", producer: int, begun: float) -> Sample:
    """Return how things stand now."""
    (opened,) = cluster.rows(
        "SELECT count(*) AS chunks, coalesce(sum(length(payload)), 0) AS bytes FROM chunks "
        "WHERE state IN ('queued', 'leased')"
    )
    return Sample(
        time.monotonic() - begun,
        cluster.value("SELECT coalesce(sum(labeled), 0) FROM chunks"),
        broker.info("memory")["used_memory"] / MIB,
        resident_mib(producer),
        opened.chunks,
        opened.bytes / MIB,
    )


def measure(folder: Path, rows: int, rate: float, seconds: float, *, stdin: bool) -> list[Sample]:
    """Run for `seconds` and return a sample for each of them."""
    path = folder / "rows.csv"
    write_rows(path, rows)
    with start_redis(folder) as broker_url, redis.Redis.from_url(broker_url) as broker:
        url = f"sqlite:///{folder / 'store.db'}"
        cluster = Cluster(folder, broker_url, url, folder / "registry")
        try:
            cluster.start_worker(
                LABELSTREAM_ENGINE="fixed-time", LABELSTREAM_ENGINE_PACE=str(1 / rate)
            )
            source = ["-", "--format", "csv"] if stdin else [str(path)]
            with path.open("rb") as file:
                producer = subprocess.Popen(
                    [BIN / "producer", "ingest", *source, "--wait"],
                    env=clean_environment(**cluster.settings),
                    cwd=folder,
                    stdin=file if stdin else subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            cluster.processes.append(producer)  # type: ignore[arg-type]
            done = "SELECT coalesce(sum(labeled), 0) FROM chunks"
            wait_until(lambda: cluster.value(done) > 0, 60, "the first rows are labelled")
            begun = time.monotonic()
            samples = []
            while time.monotonic() - begun < seconds:
                time.sleep(1)
                if producer.poll() is not None:
                    raise SystemExit(f"the producer ended with status {producer.returncode}")
                samples.append(look(cluster, broker, producer.pid, begun))
            return samples
        finally:
            cluster.stop()


def main() -> None:
    """Measure, print a line every tenth of the time, and the largest of each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--stdin", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labelstream-") as folder:
        samples = measure(Path(folder), asked.rows, asked.rate, asked.seconds, stdin=asked.stdin)
    print("  after s   labeled  redis MiB  producer MiB  open chunks  payloads MiB")
    for sample in samples[:: max(1, len(samples) // 10)]:
        print(
            f"{sample.seconds:9.0f} {sample.labeled:9,} {sample.redis_mib:10.2f} "
            f"{sample.producer_mib:13.1f} {sample.open_chunks:12} {sample.payload_mib:13.3f}"
        )
    most_redis = max(sample.redis_mib for sample in samples)
    most_producer = max(sample.producer_mib for sample in samples)
    most_chunks = max(sample.open_chunks for sample in samples)
    print(
        f"  largest           {most_redis:10.2f} {most_producer:13.1f} {most_chunks:12} "
        f"{max(sample.payload_mib for sample in samples):13.3f}"
    )
    if (
        most_redis > REDIS_LIMIT_MIB
        or most_producer > PRODUCER_LIMIT_MIB
        or most_chunks > MAX_QUEUED_CHUNKS
    ):
        sys.exit(1)


if __name__ == "__main__":
    main()
